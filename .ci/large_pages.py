"""large_pages.py: kinetail on a kernel of arm64 whose pages are 16 KiB, booted in QEMU from a file system in memory.

What maps files asks the kernel for the size of its pages; on one with 4 KiB nobody would notice if it did not. Such kernels are what some
distributions for arm64 boot, with 16 or 64 KiB.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

PAGE = 16  # KiB
MEMORY = "3G"
ENDS_WITHIN = 600  # seconds; booting takes a few
HELD = "large pages: all held"
# What maps memory, and the disk below it.
TESTS = ("buffer::", "disk::tests::")
LINES = 20_000

INIT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin TMPDIR=/tmp
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
mount -t tmpfs -o size=2g tmp /tmp
ifconfig lo 127.0.0.1 up
story() {{
    set -e
    echo "-- $(uname -mr)"
    grep -m 1 -E '^KernelPageSize: +{PAGE} kB' /proc/self/smaps
    mkdir /tmp/logs /tmp/records
    seq {LINES} | sed 's/^/a line that is followed, /' >/tmp/logs/a.log
    cat >/tmp/kinetail.yaml <<'YAML'
data_dir: /tmp/data
destinations: {{files: {{type: directory, path: /tmp/records}}}}
routes: [{{files: /tmp/logs/*.log, start_at: beginning, to: files}}]
YAML
    kinetail run --once --config /tmp/kinetail.yaml >/tmp/said 2>&1 || {{ cat /tmp/said; false; }}
    find /tmp/records -type f -exec cat {{}} + | sed -n 's/^.*"log":"\\([^"]*\\)".*$/\\1/p' | sort >/tmp/told
    sort /tmp/logs/a.log | cmp - /tmp/told
    echo "-- {LINES} lines: each became one record"
    for tests in {" ".join(TESTS)}; do
        unit_tests --quiet "$tests"
    done
}}
(story)
[ $? != 0 ] || echo '{HELD}'
poweroff -f
"""


def entry(name, mode, content=b""):
    """A file of an archive as the kernel unpacks it: the `newc` form of cpio(5)."""
    path = name.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def file_system(files):
    """Folders and programs, as an archive."""
    folders = ("bin", "lib", "proc", "sys", "dev", "tmp", "etc")
    parts = [entry(folder, 0o040755) for folder in folders]
    parts += [entry(name, 0o100755, content) for name, content in files.items()]
    return b"".join([*parts, entry("TRAILER!!!", 0)])


def boot(binary, unit_tests):
    """Runs the binary and the unit tests there, all of them built for arm64."""
    root, libraries = pathlib.Path("/toolchain/root/usr"), pathlib.Path("/usr/aarch64-linux-gnu/lib")
    (kernel,) = root.glob("lib/modules/*/vmlinuz")
    files = {
        "init": INIT.encode(), "bin/busybox": (root / "bin/busybox").read_bytes(),
        "bin/kinetail": pathlib.Path(binary).read_bytes(), "bin/unit_tests": pathlib.Path(unit_tests).read_bytes(),
    }
    for name in ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1"):
        files[f"lib/{name}"] = (libraries / name).read_bytes()
    with tempfile.NamedTemporaryFile() as archive:
        archive.write(file_system(files))
        archive.flush()
        command = [
            "/toolchain/bin/qemu-system-aarch64", "-L", root / "share/qemu", "-machine", "virt", "-cpu", "max", "-m", MEMORY,
            "-smp", str(os.cpu_count()), "-nographic", "-nic", "none", "-no-reboot", "-kernel", kernel, "-initrd", archive.name,
            "-append", "console=ttyAMA0 quiet panic=-1",
        ]
        try:
            said = subprocess.run(command, text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=ENDS_WITHIN).stdout
        except subprocess.TimeoutExpired as late:
            sys.exit(f"with pages of {PAGE} KiB, still running after {ENDS_WITHIN} s:\n{late.stdout}")
    print(said, flush=True)
    if HELD not in said:
        sys.exit(f"with pages of {PAGE} KiB it failed as above")
