"""Check the files of .github against GitHub's JSON schemas, without a network.

    python scripts/check_github.py

`check-jsonschema` brings the schemas. They do not say that an action names a version, so this is checked here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
}
USES = re.compile(r"^\s*(?:- )?uses: *(?!\./)(?P<action>[^@\s]+)@?(?P<version>\S*)", re.MULTILINE)
VERSION = re.compile(r"v\d+\.\d+\.\d+|[0-9a-f]{40}")


def main() -> None:
    """Check every file; exit code 1 if one is wrong."""
    failed = [schema for schema, pattern in SCHEMAS.items() if not fits_schema(schema, pattern)]
    mistakes = [
        f"{path.relative_to(REPOSITORY)}: {mistake}"
        for path in sorted(REPOSITORY.glob(".github/workflows/*.yml"))
        for mistake in unpinned(path.read_text())
    ]
    print("\n".join(mistakes) or "ok -- actions name their versions", file=sys.stderr if mistakes else sys.stdout)
    raise SystemExit(1 if failed or mistakes else 0)


def fits_schema(schema: str, pattern: str) -> bool:
    """Whether the files of a pattern fit one of check-jsonschema's built-in schemas; it prints what does not."""
    files = sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob(pattern))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


def unpinned(workflow: str) -> list[str]:
    """One sentence for each action of a workflow's text that names no full version (v1.2.3 or a commit)."""
    return [
        f"action {found['action']} names version {found['version'] or 'nothing'}; use a full one, such as v1.2.3"
        for found in USES.finditer(workflow)
        if not VERSION.fullmatch(found["version"])
    ]


if __name__ == "__main__":
    main()
