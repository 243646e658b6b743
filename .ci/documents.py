"""documents.py [FOLDER]: holds what the documents say of themselves.

Each link from one to another leads to a file, and to a heading where it names one. Without FOLDER that is the repository, and
CHANGELOG.md's newest version, with its date, and the tags of images must be the crate's. FOLDER is where a package has installed the same
documents.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tomllib

LINK = re.compile(r"\]\(([^)\s]+)\)")
VERSION = re.compile(r"## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}")
FENCE = re.compile(r"\s*(\d+\. +|- +)?```")


def lines_of(document):
    """Its lines that are no code."""
    code = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            code = not code
        elif not code:
            yield line


def anchors(document):
    """What its headings are called in links, as GitHub calls them."""
    found = collections.Counter()
    for line in lines_of(document):
        if heading := re.fullmatch(r"#+ (.+)", line):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
            anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            yield f"{anchor}-{found[anchor]}" if found[anchor] else anchor
            found[anchor] += 1


def dead_links(document):
    """Links in it that lead nowhere."""
    for target in LINK.findall("\n".join(lines_of(document))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = document.parent / path if path else document
        if not to.exists():
            yield f"{document}: {target} is not there"
        elif anchor and anchor not in anchors(to):
            yield f"{document}: {to} has no heading {anchor}"


def listed(*command):
    """The lines that a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def release_problems():
    """Where CHANGELOG.md or the tag of an image tells another version than the crate."""
    headings = [line for line in lines_of(pathlib.Path("CHANGELOG.md")) if line.startswith("## ")]
    crate = tomllib.loads(pathlib.Path("Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
    if headings[:1] != ["## [Unreleased]"]:
        yield "CHANGELOG.md does not begin with what is unreleased"
    released = [VERSION.fullmatch(heading) for heading in headings[1:]]
    if not released or None in released:
        yield "CHANGELOG.md has a version without a number or date, or none"
    elif released[0].group(1) != crate:
        yield f"CHANGELOG.md's newest version is {released[0].group(1)}, the crate's {crate}"
    pattern = r"(kinetail:|newTag: |ARG VERSION=)[0-9]+\.[0-9]+\.[0-9]+"
    for tag in listed("git", "grep", "-noE", pattern, "--", "manifests", "docs", "README.md", "Dockerfile"):
        if re.split("[:= ]", tag)[-1] != crate:
            yield f"{tag} is not of the crate's version {crate}"


def main():
    problems = []
    if len(sys.argv) > 1:
        documents = sorted(pathlib.Path(sys.argv[1]).rglob("*.md"))
    else:
        documents = [pathlib.Path(name) for name in listed("git", "ls-files", "*.md")]
        problems += release_problems()
    for document in documents:
        problems += dead_links(document)
    if not documents:
        problems.append("no documents")
    print(f"{len(documents)} documents, {len(problems)} problems")
    if problems:
        sys.exit("\n".join(problems))


main()
