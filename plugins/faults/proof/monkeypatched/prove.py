"""Puts mistakes into transformers itself, records what it then answers, and sees whether tlbench finds them.

The recording is wrong and the bridge is right, so that each mistake has to be found from the other side: red, and first at
the hook that was patched. Each fixture without a mistake has to be green. Ends with 1 where one of that is not so.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from faults import FAULTS
from faults.fault import At

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[3]
FAILED = 100


@dataclasses.dataclass(frozen=True)
class Outcome:
    found: str
    ratio: float | None = None

    def line(self, name, fixture, expected):
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        verdict = "right" if self.found == expected else f"WRONG, expected {expected}"
        return f"{name:26} {fixture:26} {self.found:42} {ratio:>9}  {verdict}"


GREEN = Outcome("green")


def main():
    arguments = _arguments()
    wanted = [FAULTS[name] for name in arguments.faults] if arguments.faults else list(FAULTS.values())
    trials = [(None, fixture) for fixture in sorted({fault.fixture for fault in wanted})]
    trials += [(fault, fault.fixture) for fault in wanted]
    wrong = 0
    for fault, fixture in trials:
        outcome, expected = _try(arguments, fault, fixture), _expected(fault)
        wrong += outcome.found != expected
        print(outcome.line(fault.id if fault else "(none)", fixture, expected), flush=True)
    print(f"{len(trials) - wrong} of {len(trials)} right: {len(wanted)} mistakes, {len(trials) - len(wanted)} fixtures without one")
    return 1 if wrong else 0


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="mistakes to put in (all)")
    parser.add_argument("--tlbench", default=ROOT / "target/release/tlbench", help="the command, built with its plugins")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.faults if name not in FAULTS]:
        parser.error(f"there is no mistake `{unknown[0]}`; there are {', '.join(FAULTS)}")
    return arguments


def _expected(fault):
    if fault is None:
        return GREEN.found
    return fault.expected.hook if isinstance(fault.expected, At) else f"refused: {fault.expected.gist}"


def _try(arguments, fault, fixture):
    family, name = fixture.split("/")
    folder = ROOT / "architectures" / family / "fixtures" / name
    with tempfile.TemporaryDirectory() as scratch:
        recording = pathlib.Path(scratch) / "recording.safetensors"
        refusal = _record(arguments, fault, folder, recording)
        if refusal is not None:
            return _refused(fault, refusal)
        return _judge(arguments, folder, recording)


def _record(arguments, fault, folder, recording):
    """Why there is no recording, if so."""
    command = [arguments.tlbench, "record", folder, "--out", recording, "--python", sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "TLBENCH_PROOF_FAULT": fault.id if fault else ""}
    quick = ["--no-parameter-gradients", "--precisions", "f32", "--quiet"]
    run = subprocess.run([*command, *quick], env=environment, capture_output=True, text=True)
    return None if run.returncode == 0 else run.stderr + run.stdout


def _refused(fault, message):
    """By the words that were expected, if they are there."""
    gist = getattr(fault.expected, "gist", None) if fault else None
    if gist and gist in message:
        return Outcome(f"refused: {gist}")
    return Outcome("refused: " + re.sub(r"\s+", " ", message).strip()[-400:])


def _judge(arguments, folder, recording):
    command = [arguments.tlbench, "--model", folder, "--recording", recording, "--format", "json", "--quiet"]
    run = subprocess.run([*command, "--no-compat", "--benchmark", "forward_pass"], capture_output=True, text=True)
    if run.returncode == 0:
        return GREEN
    if run.returncode != FAILED:
        return Outcome(f"exit code {run.returncode}: {run.stderr.strip()[-300:]}")
    checks = [event for event in json.loads(run.stdout)["events"] if event["event"] == "check_finished"]
    # The first input is the one of which every hook is recorded.
    divergence = next(check["first_divergence"] for check in checks if check["first_divergence"])
    # None where one of the two shows no value; an infinity is written as a word.
    ratio = divergence["ratio"]
    return Outcome(divergence["quantity"].removeprefix("hook:"), None if ratio is None else float(ratio))


if __name__ == "__main__":
    sys.exit(main())
