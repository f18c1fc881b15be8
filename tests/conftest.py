"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports Ray: on a busy machine it needs more than its 30 s to start.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
# With more processes than cores, waiting threads must sleep instead of spinning; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests of the hub's client start their own server and never contact the real hub.
os.environ.pop("HF_HUB_OFFLINE", None)

# Test machines are shared, so a slow example says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

pytest_plugins = ["s3server", "one_ray"]  # the fixtures s3, s3_server and minio_only; one_ray

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def aloha_dataset() -> Path:
    """Four real ALOHA episodes in LeRobot v2.1 (50 Hz, 14 dims, 480x640 AV1)."""
    return REPOSITORY / "examples" / "data" / "aloha_sim_transfer_cube"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference fixtures, real datasets and a tokenizer beside the checkout; tests that need it skip without it."""
    shared = REPOSITORY.parent / "shared"
    if not shared.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return shared
