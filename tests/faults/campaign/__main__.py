"""`python -m tests.faults.campaign`: rounds of random faults for some minutes, and a table of what they led to.

Each round prints its seed; `--seed N --rounds 1` plays it again: the same faults and the same requests, though real
processes never repeat a schedule.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from sandbox import paths
from tests.faults.campaign.report import print_round, print_table
from tests.faults.campaign.rounds import FAULTS, Round, play
from tests.faults.plants.__main__ import PLANTS, copy_tree
from tests.faults.stack.installation import Installation, running
from tests.faults.stack.tenants import make_tenants
from tests.faults.stack.verdict import JOB_DEADLINE_S

# Two of those that share partitions or requests.
COUNTS = {"auth": 1, "ingest": 2, "validator": 2, "status": 2, "fulfilment": 2, "ledger": 1, "webhooks": 1}
SETTINGS = {"JOB_DEADLINE_S": str(JOB_DEADLINE_S)}
MAX_ROUNDS = 60


def main() -> int:
    """Return 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="no round begins later (default: 10)")
    parser.add_argument("--rounds", type=int, default=MAX_ROUNDS, help=f"at most this many (default: {MAX_ROUNDS})")
    parser.add_argument(
        "--seed", type=int, default=1, help="the first round's; each further one has the next (default: 1)"
    )
    parser.add_argument(
        "--faults",
        default="",
        help="only those with one of these words, comma-separated: " + ", ".join(fault.name for fault in FAULTS),
    )
    parser.add_argument("--stop", action="store_true", help="end after the first round with a violation")
    parser.add_argument("--keep", type=Path, help="keep data and logs in this directory")
    parser.add_argument(
        "--plant", help="plant this bug (see `python -m tests.faults.plants`) in a copy, and play there"
    )
    options = parser.parse_args()
    if options.plant:
        return _play_planted(options.plant)
    # Ended from outside, it must stop its servers and unmount their disks, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rounds: list[Round] = []
    with TemporaryDirectory(prefix="campaign-") as scratch:
        try:
            asyncio.run(_campaign(options, options.keep or Path(scratch), rounds))
        finally:
            print_table(rounds)
    return int(any(each.violations for each in rounds))


async def _campaign(options: argparse.Namespace, directory: Path, rounds: list[Round]) -> None:
    only = [word for word in options.faults.split(",") if word]
    tenants = make_tenants(min(options.rounds, MAX_ROUNDS))
    installation = Installation(directory, tenants, nodes=3, counts=COUNTS, settings=SETTINGS, has_disks=True)
    known: set[bytes] = set()
    ends = monotonic() + options.minutes * 60
    async with running(installation):
        if installation.disks.why_not:
            print(f"no faults of disks: {installation.disks.why_not}")
        for number, tenant in enumerate(tenants):
            if monotonic() > ends:
                break
            played = await play(options.seed + number, installation, tenant, only, known)
            rounds.append(played)
            print_round(played)
            if played.violations and options.stop:
                break


def _play_planted(name: str) -> int:
    """Run this command in a copy of the tree with the bug."""
    (plant,) = [each for each in PLANTS if each.name == name]
    with TemporaryDirectory(prefix="plant-") as directory:
        copy = copy_tree(Path(directory))
        for edit in plant.edits:
            edit.apply(copy)
        arguments = [each for each in sys.argv[1:] if each not in ("--plant", name)]
        command = [sys.executable, "-m", "tests.faults.campaign", *arguments]
        print(f"planted: {plant.name} ({plant.invariant})", flush=True)
        # The copy has no servers of its own.
        environment = {**os.environ, "SANDBOX_CACHE": str(paths.cache()), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
