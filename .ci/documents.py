"""documents.py [FOLDER]: holds what the documents say of themselves.

Each link from one to another leads to a file, and to a heading where it names one. Without FOLDER that is the repository; FOLDER is
where a package has installed the same documents.
"""

import collections
import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
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


def main():
    problems = []
    if len(sys.argv) > 1:
        documents = sorted(pathlib.Path(sys.argv[1]).rglob("*.md"))
    else:
        listed = subprocess.run(["git", "ls-files", "*.md"], check=True, capture_output=True, text=True).stdout
        documents = [pathlib.Path(name) for name in listed.splitlines()]
    for document in documents:
        problems += dead_links(document)
    if not documents:
        problems.append("no documents")
    print(f"{len(documents)} documents, {len(problems)} problems")
    if problems:
        sys.exit("\n".join(problems))


main()
