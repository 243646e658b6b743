"""toolchain.py: what rustup would download, and machines of the other architecture, from Debian: a compiler that knows both, QEMU, and
for arm64 a kernel with large pages.

Neither is installed. Packages are unpacked into a folder of their own (as /toolchain, where it is used), so the machine's own
compiler stays the only one, and the copy of its root in which this is used needs none of their libraries.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

# A codename, not `testing`: it means the same for as long as mirrors have it, which is some years after it has become stable, and its
# compiler never becomes older. Where Cargo.toml's `rust-version` has passed that one, the next codename takes its place. Not `sid`, where
# two architectures often have different versions for a time, and so cannot be had together.
SUITE = "forky"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# In rustup's place, for the one thing that the Dockerfile asks of it.
RUSTUP = """\
#!/bin/sh
if [ "$1 $2" != "target add" ] || [ $# != 3 ] || [ ! -d "/toolchain/root/usr/lib/rustlib/$3" ]; then
    echo "Debian's compiler stands in for rustup here, and knows nothing of: rustup $*" >&2
    exit 1
fi
"""
# With Debian's libraries, none of which is the machine's own.
PROGRAM = """\
#!/bin/sh
root=/toolchain/root/usr
exec "$root"/lib*/ld-linux-*.so.* --library-path "$root/lib/{host}-linux-gnu" "$root/bin/{name}" {options} "$@"
"""
RUSTC = '--sysroot "$root"'
# The kernel's image alone, whose name has a version in it.
KERNEL = "^linux-binary-[^ ]*-arm64-16k$"


def apt(folder, tool, *arguments, **options):
    """One of apt's tools, with packages, lists and a state of its own."""
    command = [tool, "-c", folder / "apt.conf", "-qq", *arguments]
    return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL, **options)


def mirror():
    """Where this machine has Debian from."""
    targets = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    for again in (False, True):
        if again:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
        said = subprocess.run(targets, check=True, text=True, stdout=subprocess.PIPE).stdout
        for line in said.splitlines():
            if line.startswith("Debian Debian main "):
                return line.split()[-1]
    sys.exit("no source of apt's has Debian's packages, from which the compiler for the other architecture comes")


def prepare(cache, build, target, cpus):
    """The folder with Debian's compiler for both architectures, rustup's stand-in and QEMU."""
    folder = cache / "toolchain"
    stamp, wanted = folder / "stamp", pathlib.Path(__file__).read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        unpack(folder, build, target, cpus)
        stamp.write_text(wanted, encoding="utf-8")
    check_version(folder, cpus[build])
    return folder


def unpack(folder, build, target, cpus):
    for name in ("root", "bin", "apt/lists/partial", "apt/cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    state = folder / "apt"
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n", encoding="utf-8")
    settings = {
        "Dir::State::lists": state / "lists", "Dir::State::status": state / "status", "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Architecture": build, "APT::Install-Recommends": "false", "APT::Sandbox::User": "root",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    lines.append(f'APT::Architectures {{ "{build}"; "{target}"; }};')
    (folder / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    print(f"unpacking the compiler and QEMU of Debian's {SUITE}", flush=True)
    archives = state / "cache/archives"
    apt(folder, "apt-get", "update")
    # With what they need. Of the others only they: this machine's C compiler links, and what is for another machine needs nothing here.
    whole, alone = ["libstd-rust-dev", "qemu-user"], ["rustc", f"libstd-rust-dev:{target}"]
    if target == "arm64":
        whole.append("qemu-system-arm")
        kernels = apt(folder, "apt-cache", "search", "--names-only", KERNEL, stdout=subprocess.PIPE).stdout.split("\n")
        names = sorted((line.split()[0] for line in kernels if line), key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
        if not names:
            sys.exit(f"{SUITE} has no package {KERNEL}")
        alone += [f"{names[-1]}:{target}", f"busybox-static:{target}"]
    apt(folder, "apt-get", "install", "--download-only", "--yes", *whole)
    apt(folder, "apt-get", "download", *alone, cwd=archives)
    emulator = f"qemu-{cpus[target]}"
    for package in sorted(archives.glob("*.deb")):
        if package.name.startswith("qemu-user_"):
            content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
            tar = ["tar", "-C", folder / "bin", "--strip-components=3", "-xf", "-", f"./usr/bin/{emulator}"]
            subprocess.run(tar, check=True, stdin=content.stdout)
            if content.wait() != 0:
                sys.exit(f"{package.name} cannot be read")
        else:
            subprocess.run(["dpkg-deb", "--extract", package, folder / "root"], check=True)
    programs = {"rustup": RUSTUP}
    for name, options in (("rustc", RUSTC), (f"qemu-system-{cpus[target]}", "")):
        programs[name] = PROGRAM.format(host=cpus[build], name=name, options=options)
    for name, text in programs.items():
        program = folder / "bin" / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
    shutil.rmtree(state)


def check_version(folder, host):
    """Cargo would say only that the compiler is too old."""
    program = PROGRAM.format(host=host, name="rustc", options=RUSTC).replace("/toolchain/", f"{folder}/")
    said = subprocess.run(["sh", "-c", program, "rustc", "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout
    has = [int(part) for part in re.search(r"(\d+)\.(\d+)", said).groups()]
    package = tomllib.loads(pathlib.Path("Cargo.toml").read_text(encoding="utf-8"))["package"]
    wants = [int(part) for part in package["rust-version"].split(".")[:2]]
    if has < wants:
        sys.exit(f"{SUITE} has {said.strip()}, Cargo.toml asks for {package['rust-version']}: name a later suite in .ci/toolchain.py")
