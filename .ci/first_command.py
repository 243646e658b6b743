"""Does what the README's first command promises: the logs of this machine as JSON records in local files, and
a summary on Ctrl-C.

Starts the command as it stands in the README, waits until records are there, sends SIGINT as a terminal would,
and looks at what was left: exit status 0, a summary that counts them, each line of output one JSON object with
a record id that no other has.
"""

import gzip
import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

START_LIMIT = 120  # seconds until the first records are there
STOP_LIMIT = 60  # seconds from SIGINT to the end; the drain deadline of config/local.yaml lies below
LOOK_EVERY = 0.2  # seconds between two looks at the output


def first_command():
    """The first command in a code block of the README."""
    readme = pathlib.Path("README.md").read_text(encoding="utf-8")
    command = re.search(r"^```\w*\n(.+)\n", readme, re.MULTILINE).group(1)
    words = shlex.split(command)
    return words, pathlib.Path(words[words.index("--config") + 1])


def fresh_output(config):
    """The folder that records go to, emptied of what an earlier run left, with kinetail's memory of it."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    (output,) = [d["path"] for d in settings["destinations"].values() if d["type"] == "directory"]
    output, data_dir = (pathlib.Path(folder).resolve() for folder in (output, settings["data_dir"]))
    for folder in (output, data_dir):
        assert pathlib.Path.cwd() in folder.parents, f"{folder} lies outside the repository"
        shutil.rmtree(folder, ignore_errors=True)
    return output


def files_of(output):
    return sorted(path for path in output.rglob("*") if path.is_file())


def wait_for_records(agent, output):
    """Looks until a file of the output holds something; the agent's end, which is too early, is noticed at once."""
    deadline = time.monotonic() + START_LIMIT
    while not any(path.stat().st_size for path in files_of(output)):
        try:
            sys.exit(f"the agent ended with {agent.wait(timeout=LOOK_EVERY)} before there was a record")
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            sys.exit(f"no record within {START_LIMIT} s")


def stop(agent):
    agent.send_signal(signal.SIGINT)
    try:
        return agent.wait(timeout=STOP_LIMIT)
    except subprocess.TimeoutExpired:
        sys.exit(f"still running {STOP_LIMIT} s after SIGINT")


def records_of(path):
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert content.endswith(b"\n"), f"{path} does not end with a whole line"
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        record = json.loads(line.decode("utf-8"))
        assert isinstance(record, dict), f"{path}:{number} is not an object"
        yield record


def check(output, said):
    records = [record for path in files_of(output) for record in records_of(path)]
    assert records, "no record was left"
    ids = {record["record_id"] for record in records}
    assert len(ids) == len(records), f"{len(records)} records share {len(ids)} ids"
    summary = next((line for line in reversed(said.splitlines()) if "delivered" in line), None)
    assert summary, "no summary was printed"
    # `"records_delivered":12` in a line of JSON, `12 records delivered` or `delivered 12` in one of text.
    told = re.findall(r'delivered["=: ]+(\d+)|(\d+)(?: records)? delivered', summary)
    assert str(len(records)) in sum(told, ()), f"{len(records)} records were left, the summary says {summary}"
    print(f"{len(records)} records in {len(files_of(output))} files; {summary}")


def main():
    command, config = first_command()
    output = fresh_output(config)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            wait_for_records(agent, output)
            status = stop(agent)
        finally:
            agent.kill()  # does nothing to one that has ended
            said.seek(0)
            text = said.read()
            print(text, end="")
        assert status == 0, f"exit status {status}"
        check(output, text)


main()
