"""A real conversion that several modules read; none of them may change it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from documents import document

from groot_ray.stages import run_stage


@pytest.fixture(scope="session")
def recordings(aloha_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of `converted`, a copy. A test that changes it restores it."""
    return Path(shutil.copytree(aloha_dataset, tmp_path_factory.mktemp("recordings") / "source"))


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def converted(one_ray: None, recordings: Path, storage: Path) -> Path:
    """A storage with one experiment whose two episodes were converted, for the first module that asks."""
    run_stage(document(recordings, storage / "out", storage / "cache"), "convert")
    return storage
