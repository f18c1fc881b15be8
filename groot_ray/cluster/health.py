"""The health command of the images.

usage: python -m groot_ray.cluster.health [--write FILE]

Prints the versions as JSON. If this container runs a Ray node, its raylet is checked too; the exit code is 1 if it does
not answer.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from groot_ray.versions import versions


def raylet_is_healthy(port: int = 52365) -> bool | None:
    """Whether this container's raylet answers; None if there is none."""
    if not Path("/tmp/ray/session_latest").exists():
        return None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/local_raylet_healthz", timeout=5) as answer:
            return b"success" in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def main(arguments: list[str]) -> int:
    """Print or write the versions; returns the exit code."""
    text = json.dumps(versions())
    if arguments[:1] == ["--write"] and len(arguments) == 2:
        target = Path(arguments[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n")
        return 0
    healthy = raylet_is_healthy()
    print(text)
    return 1 if healthy is False else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
