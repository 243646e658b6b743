"""image.py: what `docker build .` does, where no engine is at hand: the commands of the Dockerfile's stages, for both architectures,
and what comes of them.

They run in a copy of this machine's root (an overlay in a mount namespace of its own) with this machine's toolchain in
place of the base image's, and without optimisation: it is the commands that are tried. For the architecture that is not this
machine's, Debian's compiler stands in for what rustup would download (toolchain.py), and an emulator for the machine.

Then the image's binary must need no library that its base lacks, say which crates it was made of, and start as the image's user; and
the labels must say what it is. What was built for the other architecture must also do its work (emulated.py).
"""

import doctest
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import zlib

import dockerfile
import toolchain

# Debian's name of an architecture, and Rust's.
CPUS = {"amd64": "x86_64", "arm64": "aarch64"}
# What gcr.io/distroless/cc-debian13 has of libraries: libc6, libgcc-s1, libstdc++6, libgomp1 and libssl3t64.
LIBRARIES = r"ld-linux|lib(c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\+\+|gomp|ssl|crypto)\.so"
# A binary that one Debian's libc is linked to may not start with an older one's.
DEBIANS = {"bookworm": "12", "trixie": "13"}
UNOPTIMISED = {"OPT_LEVEL": "0", "LTO": "off", "CODEGEN_UNITS": "16"}


def check_debian(text):
    """Both base images are of one Debian."""
    built = re.search(r"rust:[\d.]+-slim-(\w+)", text)
    runs = re.search(r"distroless/cc-debian(\d+)", text)
    if not (built and runs and DEBIANS.get(built[1]) == runs[1]):
        sys.exit("Dockerfile: the binary is built on another Debian than the one that it runs on")


def script(text, build):
    """The stages as a shell script: what both architectures have in common, this machine's, then the other."""
    targets = sorted(CPUS, key=lambda architecture: architecture != build)
    plans = {target: dockerfile.stages(text, build, target) for target in targets}
    shared = [stage for stage in plans[build] if all(stage in plan for plan in plans.values())]
    lines = ["set -eu"]
    for stage in shared:
        lines += dockerfile.commands(stage, build, build)
    for target, plan in plans.items():
        lines += [f"echo '-- for {target}'", "rm -rf /image /of-image", "("]
        if target != build:
            lines.append("export PATH=/toolchain/bin:$PATH RUSTC=/toolchain/bin/rustc")
        for stage in plan:
            if stage not in shared:
                lines += dockerfile.commands(stage, build, target)
        lines += checks(plan[-1], build, target)
        lines.append(")")
    return "\n".join(lines)


def checks(image, build, target):
    """The image's start, and what main() holds against what it must be, in /result/ARCHITECTURE."""
    user, group, entry, (command, *arguments) = dockerfile.start(image)
    cpu = CPUS[target]
    runner = "" if target == build else f"/toolchain/bin/qemu-{cpu} -L /usr/{cpu}-linux-gnu"
    result, binary = f"/result/{target}", f"/of-image{entry}"
    yield from (
        f"mkdir {result}",
        f"{cpu}-linux-gnu-readelf --file-header --dynamic --wide {binary} > {result}/elf",
        f"stat --format=%s {binary} > {result}/size",
        f"{cpu}-linux-gnu-objcopy --dump-section .dep-v0={result}/crates {binary} /dev/null",
        f"cd / && as_user='setpriv --reuid={user} --regid={group} --clear-groups --no-new-privs --bounding-set=-all'",
        f"$as_user {runner} {binary} --version",
        f"$as_user {runner} {binary} {command} --help > /dev/null",
        f"test {shlex.quote(arguments[-1])} = /etc/kinetail/kinetail.yaml",
        "$as_user test -w /of-image/var/lib/kinetail",
    )
    if runner:
        yield f"python3 /repository/.ci/emulated.py '{runner}' {binary} {user}:{group}"


def check_labels(found):
    """Registries, scanners and people tell images apart by them."""
    package = tomllib.loads(pathlib.Path("Cargo.toml").read_text(encoding="utf-8"))["package"]
    wanted = {"title": package["name"], "licenses": package["license"], "version": package["version"]}
    for name, value in wanted.items():
        said = found.get(f"org.opencontainers.image.{name}")
        if said != value:
            sys.exit(f"Dockerfile: the label {name} is {said}, Cargo.toml says {value}")
    for name in ("description", "revision"):
        if not found.get(f"org.opencontainers.image.{name}"):
            sys.exit(f"Dockerfile: no label {name}")


def check_binary(architecture, result):
    """What was built is for this architecture, and the base image has what it needs; it says what it was made of."""
    elf = (result / "elf").read_text(encoding="utf-8")
    machine = re.search(r"Machine:\s+(.+)", elf).group(1)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", elf)
    crates = json.loads(zlib.decompress((result / "crates").read_bytes()))["packages"]
    size = int((result / "size").read_text(encoding="utf-8"))
    lacking = [library for library in needed if not re.match(LIBRARIES, library)]
    names = {crate["name"] for crate in crates}
    if machine.lower().replace("-", "_").find(CPUS[architecture]) < 0:
        sys.exit(f"the image for {architecture} has a binary for {machine}")
    if not needed or lacking:
        sys.exit(f"the image for {architecture} lacks {lacking}, of {needed}")
    if not {"kinetail", "aws-sdk-firehose", "aws-sdk-kinesis", "rustls"} <= names:
        sys.exit(f"the binary for {architecture} names {len(names)} crates, and not all of them")
    print(f"{architecture}: the stages' commands hold; the binary is for {machine}, names {len(crates)} crates and needs no "
          f"library that the image lacks; it has {size / 2**20:.1f} MiB, built without optimisation and stripped")


def ignored():
    """What the build context lacks, as options of tar."""
    lines = pathlib.Path(".dockerignore").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line.strip() and not line.startswith("#")]
    return ["--anchored", "--no-wildcards-match-slash", *(f"--exclude=./{name}" for name in names)]


def main():
    if doctest.testmod(dockerfile).failed:
        sys.exit("dockerfile.py does not read as it says")
    text = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
    check_labels(dockerfile.labels(text))
    check_debian(text)
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            sys.exit("only root can make a copy of this machine's root")
        sys.exit(print("skipped: only root can make a copy of this machine's root"))
    build = subprocess.run(["dpkg", "--print-architecture"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    cache = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "image").resolve()
    (cache / "target").mkdir(parents=True, exist_ok=True)
    (other,) = set(CPUS) - {build}
    toolchain.prepare(cache, build, other, CPUS)
    with tempfile.TemporaryDirectory() as work:
        story = pathlib.Path(work, "story")
        story.write_text(script(text, build), encoding="utf-8")
        prepare = """
            work=$1 cache=$2; shift 2
            mount --make-rprivate /
            mkdir "$work/upper" "$work/root" "$work/result"
            mount -t tmpfs none "$work/upper"
            mkdir "$work/upper/changed" "$work/upper/work"
            mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper/changed,workdir=$work/upper/work" "$work/root"
            mount --rbind /proc "$work/root/proc"
            mount --rbind /dev "$work/root/dev"
            mkdir -p "$work/root/"{context,src/target,result,repository,toolchain}
            tar "$@" -cf - . | tar -C "$work/root/context" -xf -
            mount --bind "$cache/target" "$work/root/src/target"
            mount --bind "$cache/toolchain" "$work/root/toolchain"
            mount --bind . "$work/root/repository"
            mount --bind "$work/result" "$work/root/result"
            exec chroot "$work/root" sh -c "$(cat "$work/story")"
        """
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        environment |= {f"CARGO_PROFILE_DIST_{name}": value for name, value in UNOPTIMISED.items()}
        environment |= {"DEBIAN_FRONTEND": "noninteractive"}
        command = ["unshare", "--mount", "bash", "-euo", "pipefail", "-c", prepare, "image", work, cache, *ignored()]
        if subprocess.run(command, env=environment).returncode != 0:
            sys.exit("the image: it failed as above")
        for architecture in CPUS:
            check_binary(architecture, pathlib.Path(work, "result", architecture))


if __name__ == "__main__":
    main()
