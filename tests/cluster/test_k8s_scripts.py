"""Scripts and tests that need a cluster to run import names that the package has."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from rendering import REPOSITORY

FOLDERS = ("k8s", "charts", "tests/on_cluster")
SCRIPTS = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_what_exists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("groot_ray"):
            module = importlib.import_module(str(node.module))
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{path.name}, line {node.lineno}: {node.module} has no {', '.join(missing)}"
