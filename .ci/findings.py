"""findings.py: what the checks of manifests found wrong, as sentences, until manifests.py tells them."""

problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)
