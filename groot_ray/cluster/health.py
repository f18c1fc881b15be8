"""The health command of the images, and the versions that all parts of a Ray cluster have to share.

usage: python -m groot_ray.cluster.health [--write FILE]

Prints the versions as JSON. Where a Ray node runs in this container its raylet is asked too; the exit code is 1 when it does not answer.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from groot_ray import __version__
from groot_ray.errors import ConfigurationError

VERSIONS = "GROOT_RAY_VERSIONS"
SHARED = ("python", "ray", "groot_ray")  # must be equal on all nodes of a cluster


def versions() -> dict[str, str]:
    """Versions of what this environment runs; nothing is imported for it."""
    found = {"python": ".".join(map(str, sys.version_info[:2])), "groot_ray": __version__}
    for package in ("ray", "numpy", "pyarrow", "torch", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def expect(wanted: dict[str, str]) -> None:
    """Compare with the versions of the driver.

    Raises:
        ConfigurationError: this node's image was built from another lock or version.
    """
    here = versions()
    for name in SHARED:
        if name in wanted and here.get(name) != wanted[name]:
            raise ConfigurationError(
                f"this node has {name} {here.get(name)} and the driver {name} {wanted[name]}; build all images from one checkout (make images)"
            )


def check_worker() -> None:
    """Set-up hook of Ray's worker processes: refuses a node whose image does not fit the driver's."""
    text = os.environ.get(VERSIONS)
    if text:
        expect(json.loads(text))


def raylet_is_well(port: int = 52365) -> bool | None:
    """Whether this container's raylet answers; None where there is none."""
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
    well = raylet_is_well()
    print(text)
    return 1 if well is False else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
