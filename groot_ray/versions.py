"""Versions of the packages in this environment; some must be equal on all nodes of a Ray cluster."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from groot_ray import __version__
from groot_ray.errors import ConfigurationError

VERSIONS = "GROOT_RAY_VERSIONS"  # set by the stage's Job for its driver and all workers
SHARED = ("python", "ray", "groot_ray")  # must be equal on all nodes of a cluster


@cache
def versions() -> dict[str, str]:
    """Versions of the packages in this environment, by name, without importing them."""
    found = {"python": ".".join(map(str, sys.version_info[:2])), "groot_ray": __version__}
    for package in ("ray", "numpy", "pyarrow", "torch", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def shared_versions() -> dict[str, str]:
    """The versions that must be equal on all nodes of a Ray cluster."""
    return {name: value for name, value in versions().items() if name in SHARED}


def check_node() -> None:
    """Check this process's versions against the Job that started it; called by driver, tasks and training workers.

    Raises:
        ConfigurationError: this node's image was built from another lock or version.
    """
    expected = os.environ.get(VERSIONS)
    if not expected:
        return
    here = versions()
    for name, wanted in json.loads(expected).items():
        if here.get(name) != wanted:
            raise ConfigurationError(
                f"this Ray node has {name} {here.get(name)} and the stage's Job {name} {wanted}; "
                "build all images from one checkout (make images)"
            )
