"""Fixtures of the tests on a real cluster: the one of KUBECONFIG, with the images on its nodes.

IMAGE_LOAD names the command that puts an image archive on the nodes; if it is not set, nothing is loaded. FAULTS names
a command with the words `cut NS/POD`, `mend NS/POD`, `kill-node NODE`, `up --gpu-nodes N` and `load ARCHIVE`, for what
Kubernetes itself cannot break.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from space import REPOSITORY, Faults, Space


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).resolve().parent
    for item in items:
        if here not in item.path.parents:  # the hook sees the items of all folders
            continue
        item.add_marker(pytest.mark.timeout(3600))
        item.add_marker(pytest.mark.cluster)
        if not os.environ.get("KUBECONFIG"):
            item.add_marker(pytest.mark.skip(reason="KUBECONFIG names no cluster"))


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    """The images on the nodes."""
    if os.environ.get("KUBECONFIG") and os.environ.get("IMAGE_LOAD"):
        subprocess.run([sys.executable, str(REPOSITORY / "k8s" / "images.py"), "load"], check=True)


@pytest.fixture(scope="session")
def space() -> Iterator[Space]:
    """A new namespace with MinIO and the demo's episodes; removed at the end."""
    made = Space(f"groot-test-{uuid.uuid4().hex[:6]}")
    made.demo.prepare()
    made.demo.upload()
    yield made
    if not os.environ.get("KEEP_NAMESPACE"):
        for release in json.loads(made.helm("list", "-o", "json").stdout or "[]"):
            made.helm("uninstall", release["name"], check=False)
        subprocess.run(
            [made.module.tool("kubectl"), "delete", "namespace", made.namespace, "--wait=false"], capture_output=True
        )


@pytest.fixture(scope="session")
def faults() -> Faults:
    """The command of FAULTS."""
    given = os.environ.get("FAULTS")
    command = Path(given) if given else REPOSITORY.parent / "shared" / "cluster" / "cluster"
    if not command.exists():
        pytest.skip("FAULTS names no command that cuts pods off and kills nodes")
    return Faults(command)
