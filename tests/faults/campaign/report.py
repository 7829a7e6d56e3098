"""What a campaign prints: a line for each round, and a table at the end."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.faults.campaign.rounds import Round

MAX_SHOWN = 5


def print_round(played: Round) -> None:
    """Print the round's seed, faults, requests and violations."""
    kinds = _kinds(played.answers)
    answers = " ".join(f"{kind}:{count}" for kind, count in sorted(kinds.items()))
    ledger = played.ledger
    print(f"round {played.seed}: {', '.join(fault.name for fault in played.faults)} ({played.elapsed_s:.0f} s)")
    print(f"  {'; '.join(played.story)}")
    print(
        f"  {sum(played.answers.values())} requests ({answers}), {len(ledger.job_ids())} jobs,"
        f" {played.records} records, {len(ledger.orders)} orders of codes;"
        f" ready {played.healed_after_s:.0f} s after healing",
        flush=True,
    )
    for violation in played.violations[:MAX_SHOWN]:
        print(f"  VIOLATION {violation}", flush=True)
    if len(played.violations) > MAX_SHOWN:
        print(f"  and {len(played.violations) - MAX_SHOWN} more", flush=True)


def print_table(rounds: Sequence[Round]) -> None:
    """Print the rounds by fault, and totals."""
    by_fault: dict[str, list[Round]] = defaultdict(list)
    for played in rounds:
        for fault in {fault.name: fault for fault in played.faults}.values():
            by_fault[f"{fault.name:<20} {fault.numbers}"].append(played)
    print(f"\n{'fault':<45} {'rounds':>7} {'requests':>9} {'503':>6} {'no answer':>10} {'violations':>11}")
    for name, some in sorted(by_fault.items()):
        kinds = _kinds(sum((played.answers for played in some), Counter()))
        total, violations = sum(kinds.values()), sum(len(played.violations) for played in some)
        print(f"{name:<45} {len(some):>7} {total:>9} {kinds['503']:>6} {kinds['none']:>10} {violations:>11}")
    requests = sum(sum(played.answers.values()) for played in rounds)
    print(
        f"{len(rounds)} rounds in {sum(played.elapsed_s for played in rounds) / 60:.0f} minutes, "
        f"{requests} requests, {sum(len(played.ledger.job_ids()) for played in rounds)} jobs, "
        f"{sum(played.records for played in rounds)} records, "
        f"{sum(len(played.ledger.orders) for played in rounds)} orders of codes, "
        f"{sum(len(played.faults) for played in rounds)} faults, "
        f"{sum(len(played.violations) for played in rounds)} violations"
    )


def _kinds(answers: Counter[tuple[str, int]]) -> Counter[str]:
    """Count by kind of answer."""
    found: Counter[str] = Counter()
    for (_, status), count in answers.items():
        found["none" if status == 0 else "2xx" if status < 300 else str(status)] += count
    return found
