"""One Ray for all tests that need one: a start takes many seconds."""

from __future__ import annotations

import pytest

from groot_ray.ray_session import ensure_ray

CPUS = 4  # counted, not had: so that three training workers fit on a laptop
_started: list[str] = []  # the address of the Ray that tests share, once it runs


@pytest.fixture(scope="module")
def one_ray(s3_server) -> None:
    """The Ray that tests share, with `CPUS`; its workers reach the tests' S3 server by their environment."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().gcs_address in _started:
        return
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        ensure_ray(cpus=CPUS)
    _started[:] = [ray.get_runtime_context().gcs_address]
