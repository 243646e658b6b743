"""emulated.py RUNNER BINARY USER:GROUP: what was built for another architecture, at work in an emulator.

Runs in the copy of the root that image.py makes, behind the Dockerfile's stages, with their environment: the architecture is
TARGETARCH. First the binary follows logs through rotation until it is told to stop, and each of their lines must have become one
record. Then come the library's unit tests, and both once more on a kernel with large pages.
"""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import large_pages

# Unit tests that the emulator does not run, by the beginning of their names, each with the reason. A name that no test has is a mistake.
LONG = "a minute or many in the emulator, for all the cases that it tries"
LEFT_OUT = {
    "agent::crash::": LONG,
    "agent::model::": LONG,
    "agent::routing::a_header_is_told_from_messages_also_in_long_lines_and_over_blocks": LONG,
    "agent::routing::whatever_happens_each_route_sends_each_line_once_to_each_of_its_destinations": LONG,
    "config::tests::hostile::": LONG,
    "decode::multiline::tests::restarts::": LONG,
    "plan::report::tests::packing_is_told_by_what_it_saves": LONG,
    "plan::report::tests::the_report_is_a_table_of_a_day": LONG,
    "process::journald::tests::an_entry_with_very_many_fields_takes_no_longer_for_each": LONG,
    "process::parse::tests::a_line_cut_anywhere_never_breaks_a_parser": LONG,
}

STARTS_WITHIN = 120  # seconds, as all limits here; what is waited for takes a few
LINES = 20_000


def fail(what):
    sys.exit(f"in the emulator: {what}")


def wait_until(holds, agent, what):
    deadline = time.monotonic() + STARTS_WITHIN
    while not holds():
        if agent.poll() is not None:
            fail(f"the agent ended with {agent.returncode} before {what}")
        if time.monotonic() > deadline:
            fail(f"not within {STARTS_WITHIN} s: {what}")
        time.sleep(0.1)


def written(folder):
    """What lies in the folder's files, those that are still being written too."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def write(path, numbers):
    """Appends lines to a log, no two of which are the same."""
    lines = [f"{path.name} {number} {'x' * (number % 97)}" for number in numbers]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return lines


def check(records, lines):
    """That each line became one record."""
    found = [json.loads(line) for line in written(records).splitlines()]
    if len({record["record_id"] for record in found}) != len(found):
        fail("records share ids")
    told = sorted(record["log"] for record in found)
    if told != sorted(lines):
        missing, foreign = set(lines) - set(told), set(told) - set(lines)
        fail(f"{len(lines)} lines became {len(told)} records: {len(missing)} lines have none, such as {sorted(missing)[:3]}, "
             f"{len(foreign)} records no line, such as {sorted(foreign)[:3]}")
    print(f"-- {len(lines)} lines, through a rotation, a stop by SIGTERM and the next start: each became one record", flush=True)


def follow(runner, binary, user, group):
    """Two logs, one of which is rotated while it is read, and one that comes later; SIGTERM right after the last lines, which the
    next start reads.
    """
    with tempfile.TemporaryDirectory() as work:
        root = pathlib.Path(work)
        logs, records, config = root / "logs", root / "records", root / "kinetail.yaml"
        logs.mkdir()
        records.mkdir()
        config.write_text(
            f"data_dir: {root}/data\n"
            f"destinations: {{files: {{type: directory, path: {records}}}}}\n"
            f"routes: [{{files: '{logs}/*.log', start_at: beginning, to: files}}]\n", encoding="utf-8")
        (root / "data").mkdir(mode=0o700)
        for path in (root, root / "data", records):
            os.chown(path, user, group)
        rotated, steady, late = logs / "rotated.log", logs / "steady.log", logs / "late.log"
        half = LINES // 2
        lines = write(rotated, range(half)) + write(steady, range(half))
        command = [*runner, binary, "run", "--config", config]
        as_user = {"user": user, "group": group, "extra_groups": []}
        agent = subprocess.Popen(command, **as_user)
        try:
            wait_until(lambda: written(records), agent, "the first record")
            lines += write(rotated, range(half, half + 100))
            rotated.rename(logs / "rotated.log.1")
            lines += write(rotated, range(half + 100, LINES)) + write(steady, range(half, LINES)) + write(late, range(100))
            wait_until(lambda: written(records).count(b'"log":"late.log ') == 100, agent, "the records of a log that came later")
            lines += write(steady, range(LINES, LINES + 100))
            agent.send_signal(signal.SIGTERM)
            try:
                status = agent.wait(STARTS_WITHIN)
            except subprocess.TimeoutExpired:
                fail(f"still running {STARTS_WITHIN} s after SIGTERM")
        finally:
            agent.kill()  # does nothing to one that has ended
        if status != 0:
            fail(f"the agent ended with {status}")
        if (status := subprocess.run([*command, "--once"], **as_user).returncode) != 0:
            fail(f"the agent's next start ended with {status}")
        check(records, lines)


def built_tests():
    """The library's unit tests, built as the binary was."""
    command = ["cargo", "test", "--locked", "--profile", "dist", "--lib", "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd="/repository", env=os.environ | {"CARGO_TARGET_DIR": "/src/target"}, text=True,
                            stdout=subprocess.PIPE)
    if output.returncode != 0:
        fail("the unit tests do not build")
    messages = map(json.loads, output.stdout.splitlines())
    return [message["executable"] for message in messages if message.get("executable")][-1]


def run_tests(runner, tests):
    listed = subprocess.run([*runner, tests, "--list"], check=True, text=True, stdout=subprocess.PIPE).stdout
    names = {line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")}
    left_out = {beginning: sum(name.startswith(beginning) for name in names) for beginning in LEFT_OUT}
    if gone := [beginning for beginning, number in left_out.items() if number == 0]:
        fail(f".ci/emulated.py leaves out tests that are not there: {gone}")
    for beginning, number in left_out.items():
        print(f"-- left out: {beginning} ({number}): {LEFT_OUT[beginning]}", flush=True)
    skipped = [word for name in names if name.startswith(tuple(LEFT_OUT)) for word in ("--skip", name)]
    if subprocess.run([*runner, tests, "--quiet", "--exact", *skipped], cwd="/repository").returncode != 0:
        fail("unit tests failed")
    print(f"-- {len(names) - len(skipped) // 2} of {len(names)} unit tests held", flush=True)


def main():
    runner, binary, owner = shlex.split(sys.argv[1]), sys.argv[2], sys.argv[3]
    user, group = map(int, owner.split(":"))
    follow(runner, binary, user, group)
    if "EMULATE_TESTS" not in os.environ:
        print("-- left out: unit tests, and a kernel with larger pages; set EMULATE_TESTS for these ten minutes", flush=True)
        return
    tests = built_tests()
    run_tests(runner, tests)
    if os.environ["TARGETARCH"] == "arm64":
        large_pages.boot(binary, tests)


if __name__ == "__main__":
    main()
