"""All nodes of a stage's Ray cluster must run the same version."""

from __future__ import annotations

import json

import pytest

import groot_ray
from groot_ray.errors import ConfigurationError
from groot_ray.versions import VERSIONS, check_node, shared_versions


def test_equal_versions_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERSIONS, json.dumps(shared_versions()))
    check_node()
    monkeypatch.delenv(VERSIONS)
    check_node()


@pytest.mark.parametrize("name", ["python", "ray", "groot_ray"])
def test_another_image_is_rejected_with_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERSIONS, json.dumps({**shared_versions(), name: "0.0.1"}))
    with pytest.raises(ConfigurationError, match=rf"this Ray node has {name} .* and the stage's Job {name} 0\.0\.1"):
        check_node()


@pytest.mark.slow
def test_tasks_on_another_image_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion and statistics alike: Ray's workers have the environment in which Ray was started."""
    import ray

    from groot_ray.convert.stream import stream

    monkeypatch.setenv(VERSIONS, json.dumps({"groot_ray": "0.0.1"}))
    ray.shutdown()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(ConfigurationError, match=f"groot_ray {groot_ray.__version__}"):
            list(stream(max, 0, 1))
    finally:
        ray.shutdown()
