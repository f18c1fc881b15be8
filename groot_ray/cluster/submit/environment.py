"""The parts of this machine's environment that go to a Ray cluster: variables, and Ray's token."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster import SECRET_NAME

log = logging.getLogger(__name__)

SENT = ("AWS_", "HF_", "WANDB_", "GROOT_RAY_")
FILES_HERE = ("AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "HF_HOME")  # paths of this machine


def ray_token() -> str | None:
    """Ray's token, from where Ray reads it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    return path.read_text().strip() if path.is_file() else None


def environment_to_send(names: Iterable[str] = (), secrets: bool = False) -> dict[str, str]:
    """Variables for the job: AWS_*, HF_*, WANDB_* and GROOT_RAY_* of this environment, and `names`.

    Ray shows a job's environment to everyone who may see the job, so secrets stay here unless requested.

    Args:
        names: further variables, as NAME or NAME=VALUE; a secret among them is sent.
        secrets: send all secrets.

    Raises:
        ConfigurationError: a NAME is not set here.
    """
    sent = {name: value for name, value in os.environ.items() if name.startswith(SENT)}
    kept_back = sorted(name for name in sent if SECRET_NAME.search(name))
    if kept_back and not secrets:
        sent = {name: value for name, value in sent.items() if name not in kept_back}
    for item in names:
        name, equals, value = item.partition("=")
        if not equals and name not in os.environ:
            raise ConfigurationError(f"--env {name}: this variable is not set here; write --env {name}=VALUE")
        sent[name] = value if equals else os.environ[name]
        if name in kept_back:
            kept_back.remove(name)
    if kept_back and not secrets:
        log.info("not sent, because Ray shows a job's environment: %s (--secrets sends them)", ", ".join(kept_back))
    for name in FILES_HERE:
        if name not in [item.partition("=")[0] for item in names]:
            sent.pop(name, None)
    return sent
