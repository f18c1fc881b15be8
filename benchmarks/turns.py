"""Measure variants in turn, each in its own process, and print the results as a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence


def best_of_turns(module: str, variants: Sequence[str], turns: int, arguments: Sequence[str]) -> dict[str, dict]:
    """Run ``python -m module *arguments --variant V`` for each variant in turns; keep the fastest run of each.

    A module run so prints its measurements as a JSON object on its last line.
    """
    best: dict[str, dict] = {}
    for _ in range(turns):
        for variant in variants:
            command = [sys.executable, "-m", module, *arguments, "--variant", variant]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            if variant not in best or found["seconds"] < best[variant]["seconds"]:
                best[variant] = found
    return best


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for cells in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(cells)} |" if cells[0] != "---" else f"|{'|'.join(cells)}|")
