"""One start of the training workers, from Ray Train's trainer to the error with which it ends."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groot_ray.errors import TemporaryFailureError
from groot_ray.experiment.schema import TrainingOptions
from groot_ray.ray_session import first_line, has_gpus, is_ray_failure
from groot_ray.storage.lease import Lease
from groot_ray.termination import EndedBySignal, HeldSignals, held_signals
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.ray.follower import Follower
from groot_ray.train.ray.mailbox import Mailbox, RemoteMailbox
from groot_ray.train.ray.process import ray_worker, train_here
from groot_ray.train.ray.stopping import StopHere, StopWish, StopWorkers, grace

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def launch(plan: FinetunePlan, lease: Lease, run: RunFolder, follower: Follower) -> None:
    """Start the workers and follow them until all have ended. If `num_workers` is 0, this process is the worker.

    Raises:
        GrootRayError: a worker raised it.
        TemporaryFailureError: a worker or a process of Ray was lost, or a worker raised an unexpected error.
        EndedBySignal: this process has to end; a checkpoint was saved if there was time.
    """
    use_gpu = wants_gpu(plan.training)
    mailbox, fit, wish = _prepare(plan, lease, run, use_gpu)
    fit.start()
    follower.begin(plan.training.workers[0], use_gpu)
    try:
        with held_signals() as signals:
            _follow(fit, wish, mailbox, follower, signals)
    except EndedBySignal:
        with held_signals():
            wish.abandon(fit)
        raise
    if not signals.count:
        mailbox.close()
    if signals.count and (follower.error is None or signals.terminated):
        raise signals.error(follower.error)
    if follower.error is not None:
        raise follower.error
    if fit.error is not None:
        raise fit.error if plan.training.workers[1] == 0 else unforeseen(fit.error) from fit.error


def _prepare(
    plan: FinetunePlan, lease: Lease, run: RunFolder, use_gpu: bool
) -> tuple[Mailbox | RemoteMailbox, _Fit, StopWish]:
    smallest, largest = plan.training.workers
    if largest == 0:
        events, here = Mailbox(), StopHere(lease)
        return events, _Fit(lambda: train_here(plan, here, events, use_gpu, here.asked)), here
    mailbox = RemoteMailbox()
    config = {"plan": plan, "lease": lease, "mailbox": mailbox, "use_gpu": use_gpu}
    return mailbox, _Fit(_make_trainer(config, smallest, largest, use_gpu).fit), StopWorkers(run)


class _Fit(threading.Thread):
    """Runs the training, so that the main thread can follow the workers meanwhile."""

    def __init__(self, fit: Callable[[], object]) -> None:
        super().__init__(name="training", daemon=True)
        self._fit = fit
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._fit()
        except BaseException as error:
            self.error = error


def _make_trainer(config: dict[str, Any], smallest: int, largest: int, use_gpu: bool) -> Any:
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    # A report takes one round of the controller's health checks, by default 2 s.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
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


def _follow(
    fit: _Fit, wish: StopWish, mailbox: Mailbox | RemoteMailbox, follower: Follower, signals: HeldSignals
) -> None:
    """Follow the workers until they end.

    The first SIGTERM or Ctrl-C asks them to save and stop. A second one, a signal before the first step, and the end of
    the grace period after SIGTERM end this process at once.
    """
    asked: float | None = None
    while fit.is_alive():
        fit.join(POLL_SECONDS)
        follower.take(mailbox.take())
        if not signals.count:
            continue
        if asked is None:
            asked = time.monotonic()
            if not follower.begun:
                raise signals.error()
            log.warning("saving and stopping; a second signal (Ctrl-C) stops immediately")
            wish.ask()
        elif signals.count > 1 or (signals.terminated and time.monotonic() - asked > grace()):
            raise signals.error("no checkpoint was saved at its end")
    follower.take(mailbox.take())


def unforeseen(error: BaseException) -> TemporaryFailureError:
    """The error for a lost worker, a lost process of Ray or a crash, with the last line of its traceback."""
    causes = getattr(error, "worker_failures", None)
    if not causes and is_ray_failure(error):
        lost = "Ray Train's controller" if "Controller" in str(error) else "a process of Ray"
        return TemporaryFailureError(f"{lost} was lost ({first_line(error)})")
    rank, cause = next(iter((causes or {0: error}).items()))
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
    reason = lines[-1][:300] if lines else type(cause).__name__
    return TemporaryFailureError(f"training worker {rank} was lost ({reason})")


def wants_gpu(training: TrainingOptions) -> bool:
    """Whether a worker uses a GPU: as the option says; by default, if this process or the Ray cluster has one."""
    if training.workers[1] == 0:
        return training.use_gpu is not False
    return gpus_wanted(training)


def gpus_wanted(training: TrainingOptions) -> bool:
    """Whether each worker reserves a GPU: as the option says, by default if the cluster has GPUs or can add some."""
    return has_gpus() if training.use_gpu is None else training.use_gpu


def resources(kind: str) -> tuple[float, float]:
    """Number of CPUs or GPUs that Ray has, and how many of them are free."""
    import ray

    return ray.cluster_resources().get(kind, 0.0), ray.available_resources().get(kind, 0.0)
