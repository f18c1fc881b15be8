"""The findings of a dataset check: problems that break training, and warnings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 50  # maximum number of printed lines per kind; JSON has all


@dataclass(frozen=True)
class Finding:
    """One sentence, with the episode number and the column, camera or file that it concerns, if any."""

    text: str
    episode: int | None = None
    column: str | None = None
    warning: bool = False

    def line(self) -> str:
        """The finding with its location."""
        places = []
        if self.episode is not None:
            places.append(f"episode {self.episode}")
        if self.column is not None:
            places.append(self.column)
        return f"{', '.join(places)}: {self.text}" if places else self.text


@dataclass
class Report:
    """All findings about a dataset."""

    path: str
    episodes: int = 0
    frames: int = 0
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        """Sort findings into problems and warnings."""
        for finding in findings:
            (self.warnings if finding.warning else self.problems).append(finding)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        kept = ("text", "episode", "column")
        return {
            "path": self.path,
            "episodes": self.episodes,
            "frames": self.frames,
            "problems": [{name: value for name, value in asdict(f).items() if name in kept} for f in self.problems],
            "warnings": [{name: value for name, value in asdict(f).items() if name in kept} for f in self.warnings],
        }

    def text(self) -> str:
        """The report as text: a line per finding and a summary line."""
        lines = [*_lines("problem", self.problems), *_lines("warning", self.warnings)]
        result = f"{len(self.problems)} problem(s)" if self.problems else "no problems"
        lines.append(
            f"{self.path}: {self.episodes} episodes, {self.frames} frames: {result}, {len(self.warnings)} warning(s)"
        )
        return "\n".join(lines)


def _lines(kind: str, findings: list[Finding]) -> Iterable[str]:
    for finding in findings[:SHOWN]:
        yield f"{kind}: {finding.line()}"
    if len(findings) > SHOWN:
        yield f"{kind}: and {len(findings) - SHOWN} more; --json prints all"
