"""dockerfile.py: reads the Dockerfile as a build does, one architecture after the other: its stages, their commands as a shell
script, and the labels of the image.

Of BuildKit it knows what the Dockerfile uses: stages that stand on each other, of which only those are built that the image
needs; the arguments that tell the platforms; ENV, WORKDIR, RUN, COPY.
"""

import json
import re
import shlex
import sys


def instructions(dockerfile):
    """Keyword and rest of each instruction."""
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            keyword, rest = line.split(None, 1)
            yield keyword.upper(), rest.strip()


def expanded(text, arguments):
    """With the values of `$NAME` and `${NAME}`; a name that is not known is a mistake, which a build would make an empty text of."""
    def value(match):
        if match.group(1) not in arguments:
            sys.exit(f"Dockerfile: nothing says what ${match.group(1)} is")
        return arguments[match.group(1)]
    return re.sub(r"\$\{?(\w+)\}?", value, text)


def flags(rest):
    """The options of an instruction, and it without them. They stand before all else: what comes later is the command's.

    >>> flags("--mount=type=cache,target=/a  --mount=b cargo install --root=/c --locked d")
    ({'mount': 'b'}, 'cargo install --root=/c --locked d')
    """
    leading = re.match(r"(--\w+=\S+\s+)*", rest).group()
    return dict(re.findall(r"--(\w+)=(\S+)", leading)), rest[len(leading):]


def stages(dockerfile, build, target):
    """The stages that the image for `target` needs, on a machine of the architecture `build`, in their order: each a name, what it
    stands on, and its instructions. The last has no name: it is the image.
    """
    arguments = {"BUILDPLATFORM": f"linux/{build}", "TARGETARCH": target}
    found = []
    for keyword, rest in instructions(dockerfile):
        if keyword == "FROM":
            options, plain = flags(rest)
            base, _, name = re.fullmatch(r"(\S+)(?:\s+((?i:as))\s+(\S+))?", expanded(plain, arguments)).groups()
            platform = expanded(options.get("platform", f"linux/{target}"), arguments)
            found.append({"name": name, "base": base, "platform": platform, "instructions": []})
        else:
            found[-1]["instructions"].append((keyword, rest))
    by_name = {stage["name"]: stage for stage in found if stage["name"]}
    needed, asked = [], [found[-1]]
    while asked:
        stage = asked.pop()
        needed.insert(0, stage)
        froms = [flags(rest)[0].get("from") for keyword, rest in stage["instructions"] if keyword == "COPY"]
        asked += [by_name[name] for name in {stage["base"], *froms} if name in by_name]
    *before, image = needed
    if image["name"]:
        sys.exit("Dockerfile: the last stage is the image, and has no name")
    for stage, below in zip(before[1:], before):
        if stage["base"] != below["name"]:
            sys.exit(f"Dockerfile: stage {stage['name']} does not stand on {below['name']}, which this check does not follow")
    if before[0]["platform"] != f"linux/{build}":
        sys.exit(f"Dockerfile: the compiler would have to be emulated, on {before[0]['platform']}")
    if image["platform"] != f"linux/{target}":
        sys.exit(f"Dockerfile: the image for {target} is one for {image['platform']}")
    return needed


def commands(stage, build, target):
    """What a stage does, as a shell script over the build context in /context; the image comes to lie in /of-image."""
    known = {"BUILDARCH": build, "TARGETARCH": target}
    for keyword, rest in stage["instructions"]:
        options, plain = flags(rest)
        if keyword == "ARG":
            # The others have defaults, which labels() looks at.
            yield from (f"export {name}={known[name]}" for name in plain.split() if name in known)
        elif keyword == "ENV":
            yield f"export {plain}"
        elif keyword == "WORKDIR":
            yield f"mkdir -p {plain} && cd {plain}"
        elif keyword == "RUN":
            yield f"(set -x; {plain})"
        elif keyword == "COPY" and "from" not in options:
            source, folder = plain.split()
            yield f"cp -a /context/{source} {folder}"
        elif keyword == "COPY":
            source, folder = plain.split()
            folder = f"/of-image{folder}"
            yield f"mkdir -p {folder} && cp -r {source}/. {folder} && chown -R {options.get('chown', '0:0')} {folder}"
        elif keyword not in ("LABEL", "USER", "ENTRYPOINT", "CMD"):
            sys.exit(f"Dockerfile: {keyword} is not known here")


def start(image):
    """How the image starts: user, group, program and its arguments."""
    said = dict(image["instructions"])
    user, group = said["USER"].split(":")
    if not (user.isdigit() and group.isdigit() and user != "0"):
        sys.exit("Dockerfile: Kubernetes can tell only from a number that the user is not root")
    (entry,) = json.loads(said["ENTRYPOINT"])
    return user, group, entry, json.loads(said["CMD"])


def labels(dockerfile):
    """The image's labels, as a build without `--build-arg` makes them."""
    arguments, found = {}, {}
    for keyword, rest in instructions(dockerfile):
        if keyword == "FROM":
            arguments, found = {}, {}
        elif keyword == "ARG":
            for argument in rest.split():
                name, _, default = argument.partition("=")
                arguments[name] = default
        elif keyword == "LABEL":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                found[name] = expanded(value, arguments)
    return found
