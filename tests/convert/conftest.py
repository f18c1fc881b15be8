"""Datasets to convert."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import write_ball2


@pytest.fixture(scope="session")
def ball2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The in-house format: 30 hertz, AV1, 480 x 640, three cameras without prefix, six columns."""
    return write_ball2(
        tmp_path_factory.mktemp("recordings") / "ball2_groot", episodes=[45, 30], tasks=("lift", "hand over")
    )


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short episodes with small images, for tests of the pipeline."""
    lengths = [24 + 3 * (i % 5) for i in range(12)]
    return write_ball2(
        tmp_path_factory.mktemp("recordings") / "many",
        lengths,
        size=(48, 64),
        codec="h264",
        tasks=("lift", "hand over", "put down"),
    )
