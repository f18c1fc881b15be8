"""The table of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from groot_ray.parity.check import Check

_WIDTH = 200


def failed(checks: Sequence[Check]) -> list[Check]:
    """The checks whose tolerance is exceeded."""
    return [check for check in checks if check.ok is False]


def print_table(checks: Sequence[Check]) -> None:
    """Print every quantity with its largest difference and its tolerance, and a closing line."""
    from rich.console import Console
    from rich.table import Table

    caption = (
        "differences are relative to the reference's value (for activations: its vector's largest) "
        "where that is above 1"
    )
    table = Table(title="Comparison with the reference", caption=caption, title_justify="left", caption_justify="left")
    for name, justify in (
        ("part", "left"),
        ("quantity", "left"),
        ("largest difference", "right"),
        ("tolerance", "right"),
        ("", "left"),
        ("note", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for check in checks:
        verdict = {True: "[green]ok[/green]", False: "[red]FAIL[/red]", None: "[yellow]not compared[/yellow]"}[check.ok]
        table.add_row(
            check.part, check.quantity, _number(check.difference), _number(check.tolerance), verdict, check.note
        )
    console = Console(soft_wrap=False)
    if not console.is_terminal:  # a log has no width, so names stay on one line
        console = Console(soft_wrap=False, width=_WIDTH)
    console.print(table)
    passed = sum(check.ok is True for check in checks)
    print(f"{passed} passed, {len(failed(checks))} failed, {sum(check.ok is None for check in checks)} not compared")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "0" if value == 0 else f"{value:.2e}"
