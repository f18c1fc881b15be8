"""Trackers that get the numbers of log lines: TensorBoard event files, and Weights & Biases if enabled."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.storage import Location, NotFoundError, upload_tree

log = logging.getLogger(__name__)

TENSORBOARD = "tensorboard"
WANDB_CONFIG = "wandb_config.json"
NAMES = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "samples_per_second": "train/samples_per_second",
    "data_wait": "train/data_wait",
    "mfu": "train/mfu",
    "memory_gib": "train/memory_gib",
}


class Tracker(Protocol):
    """Records the numbers of log lines."""

    def log(self, line: dict[str, Any]) -> None:
        """Record one line."""
        ...

    def flush(self) -> None:
        """Store everything logged so far; called after each checkpoint."""
        ...

    def close(self) -> None:
        """Store everything and close."""
        ...


class TensorBoard:
    """Event files in the run's ``tensorboard/``; on S3 they are uploaded at each flush."""

    def __init__(self, output: Location, resumed: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._target = output / TENSORBOARD
        self._stack = ExitStack()
        if self._target.is_local:
            self._folder = self._target.path
        else:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tensorboard-")))
        # Hides values that a killed run logged after its last checkpoint.
        self._writer = SummaryWriter(str(self._folder), purge_step=resumed + 1 if resumed else None)

    def log(self, line: dict[str, Any]) -> None:
        for key, name in NAMES.items():
            if key in line:
                self._writer.add_scalar(name, line[key], line["step"])

    def flush(self) -> None:
        self._writer.flush()
        if not self._target.is_local:
            upload_tree(self._folder, self._target)

    def close(self) -> None:
        self._writer.close()
        self.flush()
        self._stack.close()


class WeightsAndBiases:
    """One run at Weights & Biases, continued after a restart by its ID in the run's ``wandb_config.json``."""

    def __init__(self, output: Location, project: str, name: str | None, config: dict[str, Any]) -> None:
        wandb = require_wandb()
        try:
            known: str | None = (output / WANDB_CONFIG).read_json()["run_id"]
        except NotFoundError:
            known = None
        try:
            self._run = wandb.init(project=project, name=name, id=known, resume="allow", config=config)
        except wandb.errors.Error as error:
            raise ServiceUnavailableError(
                f"Weights & Biases rejects the run ({error}); set WANDB_API_KEY, or WANDB_MODE=offline"
            ) from None
        (output / WANDB_CONFIG).write_json({"project": project, "run_id": self._run.id})

    def log(self, line: dict[str, Any]) -> None:
        self._run.log({name: line[key] for key, name in NAMES.items() if key in line}, step=line["step"])

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._run.finish()


def require_wandb() -> Any:
    """Import the library; raises ConfigurationError if it is not installed."""
    try:
        import wandb
    except ImportError:
        raise ConfigurationError(
            "use_wandb needs the Weights & Biases library; install it with: pip install 'groot-ray[wandb]'"
        ) from None
    return wandb


def each(trackers: Sequence[Tracker], what: str, *arguments: Any) -> None:
    """Call a method of all trackers; a failure is logged and does not stop the run."""
    for tracker in trackers:
        try:
            getattr(tracker, what)(*arguments)
        except Exception as error:
            log.warning("%s could not %s: %s", type(tracker).__name__, what, error)
