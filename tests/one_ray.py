"""One Ray for all tests that need one, because starting it takes many seconds."""

from __future__ import annotations

import pytest

from groot_ray.ray_session import ensure_ray

CPUS = 4  # declared, whatever the machine has, so that three training workers fit on a laptop
_started: list[str] = []  # address of the shared Ray, once it runs


@pytest.fixture(scope="module")
def one_ray(s3_server) -> None:
    """The shared Ray, with `CPUS`; its workers find the tests' S3 server through their environment."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().gcs_address in _started:
        return
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        ensure_ray(cpus=CPUS)
    _started[:] = [ray.get_runtime_context().gcs_address]
