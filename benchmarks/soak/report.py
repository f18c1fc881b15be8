"""The table and the JSON report of a soak."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from benchmarks.turns import print_table


def print_report(outcomes: list[dict[str, Any]], seed: int, command: str) -> None:
    """Kills by stage, target and signal, then every trial that failed with the command that repeats it."""
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    failing: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for outcome in outcomes:
        for kill in outcome["kills"]:
            name = (kill["stage"], kill["target"], f"SIG{kill['signal']}" + (" x 2" if kill["count"] == 2 else ""))
            rows[name][0] += 1
            rows[name][2 if outcome["problems"] else 1] += 1
            if outcome["problems"]:
                failing[name].append(outcome["trial"])
    table = [
        [*name, str(kills), str(good), str(bad), ", ".join(map(str, sorted(set(failing[name]))[:8]))]
        for name, (kills, good, bad) in sorted(rows.items())
    ]
    print_table(["stage", "target", "signal", "kills", "in good trials", "in failed trials", "failed"], table)
    bad = [outcome for outcome in outcomes if outcome["problems"]]
    kills = sum(len(outcome["kills"]) for outcome in outcomes)
    print(f"\nseed {seed}: {len(outcomes)} trials, {kills} kills, {len(bad)} failed trials")
    for outcome in bad:
        print(f"\ntrial {outcome['trial']} ({command} --only {outcome['trial']}):")
        for line in (*outcome["faults"], *(f"-> {problem}" for problem in outcome["problems"])):
            print(f"  {line}")


def stayed(outcomes: list[dict[str, Any]]) -> str:
    """Most seconds that processes of each role stayed after the end of their driver."""
    longest: dict[str, float] = {}
    for outcome in outcomes:
        for role, seconds in outcome["stayed"].items():
            longest[role] = max(seconds, longest.get(role, 0.0))
    return ", ".join(f"{role} {seconds:.1f} s" for role, seconds in sorted(longest.items())) or "none"
