"""Datasets to convert, and one Ray for all tests of conversion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import write_ball2

from groot_ray.ray_session import ensure_ray


@pytest.fixture(scope="session")
def small_ray(s3_server) -> Iterator[None]:
    """A Ray of two CPUs for this test run, whose workers reach the tests' S3 server by their environment."""
    import ray

    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        ensure_ray(cpus=2)
    yield


@pytest.fixture(scope="session")
def ball2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The in-house form: 30 hertz, AV1, 480 x 640, three cameras without prefix, six columns."""
    return write_ball2(
        tmp_path_factory.mktemp("recordings") / "ball2_groot", episodes=[45, 30], tasks=("lift", "hand over")
    )


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short episodes with small pictures, for tests of the pipeline."""
    lengths = [24 + 3 * (i % 5) for i in range(12)]
    return write_ball2(
        tmp_path_factory.mktemp("recordings") / "many",
        lengths,
        size=(48, 64),
        codec="h264",
        tasks=("lift", "hand over", "put down"),
    )
