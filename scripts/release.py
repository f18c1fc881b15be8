"""What the release workflow needs to know about a tag.

python3 scripts/release.py --check v1.2.3      fail unless package, chart and changelog have this version
python3 scripts/release.py --notes v1.2.3      print the changelog's section of this version
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Check a tag, or print its release notes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", metavar="TAG")
    action.add_argument("--notes", metavar="TAG")
    options = parser.parse_args()
    if options.notes:
        print(notes(options.notes.removeprefix("v"), (REPOSITORY / "CHANGELOG.md").read_text()))
        return
    mistakes = disagreements(options.check.removeprefix("v"), REPOSITORY)
    for mistake in mistakes:
        print(f"release: {mistake}", file=sys.stderr)
    raise SystemExit(1 if mistakes else 0)


def notes(version: str, changelog: str) -> str:
    """The text below `## [version]` in a changelog; empty if it does not exist."""
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def disagreements(version: str, repository: Path) -> list[str]:
    """One sentence for each file of the repository that has another version, or no notes for this one."""
    package = re.search(r'__version__ = "([^"]+)"', (repository / "groot_ray" / "__init__.py").read_text())
    chart = (repository / "charts" / "groot-experiment" / "Chart.yaml").read_text()
    mistakes = []
    if package is None or package[1] != version:
        mistakes.append(f"groot_ray/__init__.py has version {package and package[1]}, the tag {version}")
    for key in ("version", "appVersion"):
        found = re.search(rf'^{key}: "?([^"\s]+)', chart, re.MULTILINE)
        if found is None or found[1] != version:
            mistakes.append(f"Chart.yaml has {key} {found and found[1]}, the tag {version}")
    if not notes(version, (repository / "CHANGELOG.md").read_text()):
        mistakes.append(f"CHANGELOG.md has no section [{version}]")
    return mistakes


if __name__ == "__main__":
    main()
