"""image.py: what `docker build .` does, where no engine is at hand: the commands of the Dockerfile's stages, and what comes of them.

They run in a copy of this machine's root (an overlay in a mount namespace of its own) with this machine's toolchain in
place of the base image's, and without optimisation: it is the commands that are tried. Then the image's binary must need no
library that its base lacks, say which crates it was made of, and start as the image's user; and the labels must say what it is.
"""

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

# What gcr.io/distroless/cc-debian12 has of libraries: libc6, libgcc-s1, libstdc++6, libgomp1 and libssl3.
LIBRARIES = r"linux-vdso|/lib64/ld-linux|/lib/ld-linux|lib(c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\+\+|gomp|ssl|crypto)\.so"
UNOPTIMISED = {"OPT_LEVEL": "0", "LTO": "off", "CODEGEN_UNITS": "16"}


def instructions(dockerfile):
    """Keyword and rest of each instruction."""
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            keyword, rest = line.split(None, 1)
            yield keyword.upper(), rest.strip()


def script(dockerfile):
    """The stages as a shell script, over the build context in /context; the image comes to lie in /of-image."""
    commands, final = ["set -eu"], {}
    for keyword, rest in instructions(dockerfile):
        flags = dict(re.findall(r"--(\w+)=(\S+)", rest))
        plain = re.sub(r"--\w+=\S+\s+", "", rest)
        if keyword == "FROM":
            stage = re.search(r"(?i) as (\w+)", rest)
        elif keyword == "WORKDIR":
            commands.append(f"mkdir -p {plain} && cd {plain}")
        elif keyword == "RUN":
            commands.append(f"(set -x; {plain})")
        elif keyword == "COPY" and "from" not in flags:
            source, target = plain.split()
            commands.append(f"cp -r /context/{source} {target}")
        elif keyword == "COPY":
            source, target = plain.split()
            target = f"/of-image{target}"
            commands.append(f"mkdir -p {target} && cp -r {source}/. {target} && chown -R {flags.get('chown', '0:0')} {target}")
        elif keyword in ("USER", "ENTRYPOINT", "CMD"):
            final[keyword] = plain
        elif keyword not in ("ARG", "LABEL"):    # labels()
            sys.exit(f"Dockerfile: {keyword} is not known here")
    if stage:
        sys.exit("Dockerfile: the last stage is the image, and has no name")
    user, group = final["USER"].split(":")
    if not (user.isdigit() and group.isdigit() and user != "0"):
        sys.exit("Dockerfile: Kubernetes can tell only from a number that the user is not root")
    (entry,) = json.loads(final["ENTRYPOINT"])
    command, *arguments = json.loads(final["CMD"])
    commands += [
        f"ldd /of-image{entry} > /result/libraries",
        f"stat --format=%s /of-image{entry} > /result/size",
        f"objcopy --dump-section .dep-v0=/result/crates /of-image{entry} /dev/null",
        f"cd / && as_user='setpriv --reuid={user} --regid={group} --clear-groups --no-new-privs --bounding-set=-all'",
        f"$as_user /of-image{entry} --version",
        f"$as_user /of-image{entry} {command} --help > /dev/null",
        f"test {shlex.quote(arguments[-1])} = /etc/kinetail/kinetail.yaml",
        "$as_user test -w /of-image/var/lib/kinetail",
    ]
    return "\n".join(commands)


def labels(dockerfile):
    """The image's labels, as a build without `--build-arg` makes them."""
    arguments, found = {}, {}
    for keyword, rest in instructions(dockerfile):
        if keyword == "FROM":
            arguments, found = {}, {}
        elif keyword == "ARG":
            name, _, default = rest.partition("=")
            arguments[name] = default
        elif keyword == "LABEL":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                found[name] = re.sub(r"\$\{?(\w+)\}?", lambda argument: arguments[argument.group(1)], value)
    return found


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


def ignored():
    """What the build context lacks, as options of tar."""
    lines = pathlib.Path(".dockerignore").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line.strip() and not line.startswith("#")]
    return ["--anchored", "--no-wildcards-match-slash", *(f"--exclude=./{name}" for name in names)]


def main():
    dockerfile = pathlib.Path("Dockerfile").read_text(encoding="utf-8")
    check_labels(labels(dockerfile))
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            sys.exit("only root can make a copy of this machine's root")
        sys.exit(print("skipped: only root can make a copy of this machine's root"))
    cache = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "image").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        story = pathlib.Path(work, "story")
        story.write_text(script(dockerfile), encoding="utf-8")
        prepare = """
            work=$1 cache=$2; shift 2
            mount --make-rprivate /
            mkdir "$work/upper" "$work/root" "$work/result"
            mount -t tmpfs none "$work/upper"
            mkdir "$work/upper/changed" "$work/upper/work"
            mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper/changed,workdir=$work/upper/work" "$work/root"
            mount --rbind /proc "$work/root/proc"
            mount --rbind /dev "$work/root/dev"
            mkdir -p "$work/root/context" "$work/root/src/target" "$work/root/result"
            tar "$@" -cf - . | tar -C "$work/root/context" -xf -
            mount --bind "$cache" "$work/root/src/target"
            mount --bind "$work/result" "$work/root/result"
            exec chroot "$work/root" sh -c "$(cat "$work/story")"
        """
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        environment |= {f"CARGO_PROFILE_DIST_{name}": value for name, value in UNOPTIMISED.items()}
        command = ["unshare", "--mount", "bash", "-euo", "pipefail", "-c", prepare, "image", work, cache, *ignored()]
        subprocess.run(command, check=True, env=environment)
        libraries = pathlib.Path(work, "result/libraries").read_text(encoding="utf-8").splitlines()
        size = int(pathlib.Path(work, "result/size").read_text(encoding="utf-8"))
        crates = json.loads(zlib.decompress(pathlib.Path(work, "result/crates").read_bytes()))["packages"]
    lacking = [line.strip() for line in libraries if not re.match(LIBRARIES, line.strip())]
    names = {crate["name"] for crate in crates}
    if lacking:
        sys.exit(f"the image lacks {lacking}")
    if not {"kinetail", "aws-sdk-firehose", "aws-sdk-kinesis", "rustls"} <= names:
        sys.exit(f"the binary names {len(names)} crates, and not all of them")
    print(f"the stages' commands hold; the binary names {len(crates)} crates and needs no library that the image lacks")
    print(f"it has {size / 2**20:.1f} MiB, built without optimisation and stripped")


if __name__ == "__main__":
    main()
