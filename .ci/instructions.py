"""Counts with callgrind what a line costs in instructions in each stage, and holds it against what is written down.

    .ci/instructions.py            fails where a stage costs over a tenth more than benches/instructions.txt says
    .ci/instructions.py --update   writes down what it costs now

Times differ from run to run, instructions hardly do. What the kernel does is not counted.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

KNOWN = Path("benches/instructions.txt")
MORE = 1.10
FEW, MANY = 2, 12
HEAD = """\
# Instructions per line in each stage, over the lines of benches/log_lines, built with the release profile.
# Written by `.ci/instructions.py --update`.
"""


def build() -> str:
    command = ["cargo", "bench", "--locked", "--profile", "release", "--bench", "stages", "--no-run"]
    output = subprocess.run([*command, "--message-format=json"], check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in output.stdout.splitlines()]
    targets = [it for it in messages if it.get("target", {}).get("name") == "stages" and it.get("executable")]
    return targets[-1]["executable"]


def instructions(stages: str, name: str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", stages, "count", name, str(times)]
    output = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    return int(re.search(r"Collected : (\d+)", output).group(1))


def known() -> dict[str, float]:
    lines = [line.split() for line in KNOWN.read_text().splitlines() if line and not line.startswith("#")]
    return {name: float(count) for name, count in lines}


def main() -> int:
    stages = build()
    first, *names = subprocess.run([stages, "names"], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    lines = int(first.split()[1])
    counts = {}
    for name in filter(None, names):
        more = instructions(stages, name, MANY) - instructions(stages, name, FEW)
        counts[name] = more / (MANY - FEW) / lines
    if "--update" in sys.argv:
        KNOWN.write_text(HEAD + "".join(f"{name} {count:.1f}\n" for name, count in counts.items()))
        return 0
    before, regressed = known(), False
    for name, count in counts.items():
        if name not in before:
            print(f"{name}: {count:.1f} instructions a line, which {KNOWN} does not know: run .ci/instructions.py --update")
            regressed = True
            continue
        change = count / before[name]
        print(f"{name}: {count:.1f} instructions a line, {100 * (change - 1):+.1f} %")
        regressed |= change > MORE
    if regressed:
        print(f"a stage costs over {100 * (MORE - 1):.0f} % more; if that is meant, run .ci/instructions.py --update")
    return int(regressed)


if __name__ == "__main__":
    sys.exit(main())
