"""One start of the training workers, from Ray Train's trainer to the error with which it ends."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

from groot_ray.errors import TemporaryFailureError
from groot_ray.experiment.schema import TrainingOptions
from groot_ray.ray_session import has_gpus
from groot_ray.storage.lease import Lease
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.ray.follower import Follower
from groot_ray.train.ray.mailbox import Mailbox, RemoteMailbox
from groot_ray.train.ray.process import ray_worker

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def launch(plan: FinetunePlan, lease: Lease, run: RunFolder, follower: Follower) -> None:
    """Start the workers and follow them until all have ended. If `num_workers` is 0, this process is the worker.

    Raises:
        GrootRayError: a worker raised it.
        TemporaryFailureError: a worker was lost or raised an unexpected error.
    """
    smallest, largest = plan.training.workers
    here = largest == 0
    mailbox = Mailbox() if here else RemoteMailbox()
    use_gpu = plan.training.use_gpu is not False if here else gpus_wanted(plan.training)
    config = {"plan": plan, "lease": lease, "mailbox": mailbox, "use_gpu": use_gpu, "here": here}
    fit = _Fit(_make_trainer(config, smallest, largest, use_gpu and not here))
    fit.start()
    follower.begin(smallest, use_gpu)
    _follow(fit, run, mailbox, follower)
    mailbox.close()
    if follower.error is not None:
        raise follower.error
    if fit.error is not None:
        raise fit.error if here else unforeseen(fit.error) from fit.error


class _Fit(threading.Thread):
    """Runs a trainer, so that the main thread can follow the workers meanwhile."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._trainer = trainer
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error


def _make_trainer(config: dict[str, Any], smallest: int, largest: int, use_gpu: bool) -> Any:
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    # A report takes one round of the controller's health checks, by default 2 s.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    if config["here"]:
        logging.getLogger("ray").setLevel(logging.WARNING)  # otherwise Ray logs a line for each report
    quiet: dict[str, Any] = {}
    if hasattr(ray.train, "LoggingConfig"):
        quiet["logging_config"] = ray.train.LoggingConfig("WARNING")
    num_workers: Any = largest if smallest == largest else (smallest, largest)  # a range makes the run elastic
    return TorchTrainer(
        ray_worker,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        # Decisions go through gloo on any machine; workers with GPUs create an nccl group for everything else.
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            name=f"finetune-{uuid.uuid4().hex[:12]}",
            storage_path=str(Path(tempfile.gettempdir()) / "groot_ray_train"),
            failure_config=FailureConfig(max_failures=0),
            **quiet,
        ),
    )


def _follow(fit: _Fit, run: RunFolder, mailbox: Mailbox | RemoteMailbox, follower: Follower) -> None:
    """Follow the workers until they end. Ctrl-C asks the run to save and stop; a second one ends it immediately.

    This is the only place where a signal becomes a stop request.
    """
    interrupted = False
    while fit.is_alive():
        try:
            fit.join(POLL_SECONDS)
            follower.take(mailbox.take())
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            log.warning("saving and stopping; press Ctrl-C again to stop immediately")
            run.request_stop()
    follower.take(mailbox.take())


def unforeseen(error: BaseException) -> TemporaryFailureError:
    """The error for a lost worker or a crash, with the last line of its traceback."""
    causes = getattr(error, "worker_failures", None) or {0: error}
    rank, cause = next(iter(causes.items()))
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
    reason = lines[-1][:300] if lines else type(cause).__name__
    return TemporaryFailureError(f"training worker {rank} was lost ({reason})")


def gpus_wanted(training: TrainingOptions) -> bool:
    """Whether each worker reserves a GPU: as the option says, by default if the cluster has GPUs or can add some."""
    return has_gpus() if training.use_gpu is None else training.use_gpu


def resources(kind: str) -> tuple[float, float]:
    """Number of CPUs or GPUs that Ray has, and how many of them are free."""
    import ray

    return ray.cluster_resources().get(kind, 0.0), ray.available_resources().get(kind, 0.0)
