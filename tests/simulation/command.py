"""The command line of the simulation."""

import argparse
import gc
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.simulation import setup

setup.install()

from tests.simulation.play import play
from tests.simulation.shrink import Shrunk, most_robust, shrink
from tests.simulation.story import PROFILES, Step, draw
from tests.simulation.virtual_time import REAL_MONOTONIC

REPORT_EVERY = 1_000
# What an outcome counts, in the order of the totals.
COUNTS = ("turns", "deaths", "jobs", "transactions", "direct_requests", "feed_events")


@dataclass
class Totals:
    """What many stories amounted to."""

    played: int = 0
    turns: int = 0
    deaths: int = 0
    jobs: int = 0
    transactions: int = 0
    direct_requests: int = 0
    feed_events: int = 0
    failed: list[int] = field(default_factory=list)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def main() -> int:
    """Play what the arguments name; return 1 if an invariant was violated."""
    options = _parse()
    if options.seed is not None:
        return _play_one(options)
    started = REAL_MONOTONIC()
    if options.processes == 1:
        _freeze()
        total = _play_all(options)
    else:
        total = _share(options)
    if options.totals is not None:
        options.totals.write_bytes(msgspec.json.encode(total))
        return bool(total.failed)
    print(
        f"{total.played} seeds in {REAL_MONOTONIC() - started:.1f} s: {total.turns} turns, {total.deaths} deaths,"
        f" {total.jobs} jobs, {total.transactions} transactions, {total.direct_requests} requests taken directly,"
        f" {total.feed_events} events in feeds; {len(total.failed)} failed"
    )
    if total.failed and options.shrink:
        stories = {seed: draw(seed, options.profile) for seed in total.failed}
        chosen = most_robust(stories, invariants=_wanted(options)) if len(stories) > 1 else total.failed[0]
        _shrink(chosen, options)
    return bool(total.failed)


def _share(options: argparse.Namespace) -> Totals:
    """Let several processes play a part of the seeds each."""
    total, children = Totals(), []
    with TemporaryDirectory() as directory:
        share = -(-options.seeds // options.processes)
        for number, first in enumerate(range(0, options.seeds, share)):
            path = Path(directory) / str(number)
            count = min(share, options.seeds - first)
            arguments = {"first": options.first + first, "seeds": count, "totals": path}
            arguments |= {"max-failures": options.max_failures, "profile": options.profile}
            if options.invariants:
                arguments["invariants"] = options.invariants
            command = [sys.executable, "-m", "tests.simulation"]
            command += [f"--{name}={value}" for name, value in arguments.items()]
            children.append((subprocess.Popen(command), path))
        for child, path in children:
            child.wait()
            total += msgspec.json.decode(path.read_bytes(), type=Totals)
    return total


def _freeze() -> None:
    """Exempt everything so far from garbage collection: it lives for ever."""
    gc.collect()
    gc.freeze()


def _play_all(options: argparse.Namespace) -> Totals:
    total, started, wanted = Totals(), REAL_MONOTONIC(), _wanted(options)
    for seed in range(options.first, options.first + options.seeds):
        outcome = play(seed, draw(seed, options.profile))
        total += Totals(1, *(getattr(outcome, name) for name in COUNTS))
        violations = [one for one in outcome.violations if wanted is None or one.invariant in wanted]
        if violations:
            total.failed.append(seed)
            print(f"seed {seed}: {violations[0]}", flush=True)
            if len(total.failed) >= options.max_failures:
                break
        if total.played % REPORT_EVERY == 0:
            print(f"seeds {options.first} to {seed} after {REAL_MONOTONIC() - started:.0f} s", flush=True)
    return total


def _play_one(options: argparse.Namespace) -> int:
    setup.echo(on=options.logs)
    steps = _chosen(draw(options.seed, options.profile), options.steps)
    outcome = play(options.seed, steps, schedule=options.schedule, echo=options.trace)
    _report(options.seed, Shrunk(steps, options.schedule, outcome), options.profile)
    if outcome.violations and options.shrink:
        _shrink(options.seed, options)
    return bool(outcome.violations)


def _shrink(seed: int, options: argparse.Namespace) -> None:
    shrunk = shrink(seed, draw(seed, options.profile), invariants=_wanted(options))
    print("\nshrunk:")
    _report(seed, shrunk, options.profile)


def _wanted(options: argparse.Namespace) -> frozenset[str] | None:
    """The invariants to look for; None for all."""
    return None if options.invariants is None else frozenset(options.invariants.split(","))


def _report(seed: int, played: Shrunk, profile: str) -> None:
    outcome = played.outcome
    for step in played.steps:
        print(step)
    print(f"seed {seed}: {outcome.turns} turns, digest {outcome.digest}, {outcome.elapsed_s:.2f} s")
    for violation in outcome.violations:
        print(f"  {violation}")
    if outcome.violations:
        chosen = ",".join(str(step.number) for step in played.steps)
        again = f"python -m tests.simulation --profile {profile} --seed {seed} --steps {chosen}"
        print(f"again: {again} --schedule {played.schedule}" if played.schedule else f"again: {again}")


def _chosen(steps: list[Step], numbers: str | None) -> list[Step]:
    if numbers is None:
        return steps
    wanted = {int(number) for number in numbers.split(",")}
    return [step for step in steps if step.number in wanted]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="number of seeds to play")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="all", help="what the stories are about")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1, help="number of processes that share the seeds")
    parser.add_argument("--totals", type=Path, help="write the totals to this file instead of printing them")
    parser.add_argument("--seed", type=int, help="play one seed and print its story")
    parser.add_argument("--steps", help="play only these steps of the seed's story, 1,2,5")
    parser.add_argument("--schedule", type=int, default=0, help="play that seed in another of its schedules")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--logs", action="store_true", help="print what the services log")
    parser.add_argument("--shrink", action="store_true", help="shrink the failed story that most schedules fail")
    parser.add_argument("--invariants", help="look for violations of these only, I1,I7")
    parser.add_argument("--max-failures", type=int, default=5, help="stop after this number of failed seeds")
    return parser.parse_args(sys.argv[1:])
