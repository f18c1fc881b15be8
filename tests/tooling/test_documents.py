"""The documents name files and packages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "groot_ray"
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
PATH = re.compile(r"`([\w.]+(?:/[\w.]+)*/?)`")


def paths(document: Path) -> set[str]:
    """What a document names as a Python file, a document, a script or a folder."""
    return {
        name
        for name in PATH.findall(document.read_text())
        if name.endswith((".py", ".md", ".toml")) or ("/" in name and name.endswith("/"))
    }


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md", "README.md"])
def test_named_files_exist(document: str) -> None:
    missing = [
        name
        for name in sorted(paths(REPOSITORY / document))
        if not any((folder / name).exists() for folder in (REPOSITORY, PACKAGE, *PACKAGE.glob("*/")))
        and name != "site/"  # made by `make docs`
    ]
    assert missing == []


def test_architecture_names_every_package() -> None:
    named = paths(ARCHITECTURE)
    packages = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert [name for name in packages if f"{name}/" not in named] == []


def test_workflows_name_files_that_exist() -> None:
    """What a workflow runs: folders and files of this repository, `*` allowed."""
    named = {
        path
        for file in (REPOSITORY / ".github" / "workflows").glob("*.yml")
        for path in re.findall(r"\b(?:tests|scripts|charts|k8s|groot_ray)/[\w./*-]*[\w*]", file.read_text())
    }
    assert named
    assert [path for path in sorted(named) if not list(REPOSITORY.glob(path))] == []
