"""The process of a training worker: under Ray Train, or this process.

Log lines and errors for the user go through the mailbox, so that they arrive once and unwrapped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from groot_ray.errors import GrootRayError, StoppedError
from groot_ray.system_errors import explained_system_errors
from groot_ray.versions import check_node

if TYPE_CHECKING:
    from groot_ray.storage.lease import Lease
    from groot_ray.train.plan import FinetunePlan
    from groot_ray.train.ray.mailbox import Mailbox


def ray_worker(config: dict[str, Any]) -> None:
    """The function that Ray Train runs in each worker process; torch is imported here, not by the launcher."""
    import ray.train
    import ray.train.torch
    import torch

    from groot_ray.train.step.collective import current_workers
    from groot_ray.train.step.device import training_device
    from groot_ray.train.worker import Host, train_worker

    mailbox = config["mailbox"]
    context = ray.train.get_context()
    gpu = None
    if config["use_gpu"] and torch.cuda.is_available():  # Ray may count GPUs that torch cannot use
        gpu = ray.train.torch.get_device().index or 0
    host = Host(
        lease=config["lease"],
        gpu=gpu,
        threads=cpu_threads(context.get_local_world_size()),
        send=mailbox.put,
        preempted=preempted,
        saved=ray.train.report,
    )
    logging.getLogger().setLevel(logging.WARNING)  # hides Ray's line per report and botocore's per client
    handler = forward_logs(mailbox, context.get_world_rank() == 0)
    try:
        report_to(mailbox, lambda: train_worker(config["plan"], current_workers(training_device(gpu)), host))
    finally:
        logging.getLogger("groot_ray").removeHandler(handler)


def train_here(plan: FinetunePlan, lease: Lease, mailbox: Mailbox, use_gpu: bool, stop: Callable[[], bool]) -> None:
    """Train in this process, without Ray; `stop` returns whether to save and stop."""
    import torch

    from groot_ray.train.step.collective import current_workers
    from groot_ray.train.step.device import training_device
    from groot_ray.train.worker import Host, train_worker

    gpu = 0 if use_gpu and torch.cuda.is_available() else None
    host = Host(
        lease=lease,
        gpu=gpu,
        threads=torch.get_num_threads(),
        send=mailbox.put,
        stop=stop,
    )
    report_to(mailbox, lambda: train_worker(plan, current_workers(training_device(gpu)), host))


def report_to(mailbox: Any, train: Callable[[], None]) -> None:
    """Run `train`; its errors for the user go to the mailbox."""
    mailbox.put({"kind": "up"})
    try:
        check_node()
        with explained_system_errors():
            train()
    except StoppedError as error:  # all workers stop together, which is not a failure
        mailbox.put({"kind": "error", "error": bare(error)}, wait=True)
    except GrootRayError as error:
        mailbox.put({"kind": "error", "error": bare(error)}, wait=True)
        raise


def bare(error: GrootRayError) -> GrootRayError:
    """The same error without traceback and cause, which need not be pickled."""
    return type(error)(str(error))


def preempted() -> bool:
    """Whether Ray reports an imminent preemption of this run's machines; all workers have to ask together."""
    import ray.train

    ask = getattr(ray.train, "get_preemption_info", None)
    return ask is not None and ask() is not None


def cpu_threads(workers_here: int) -> int:
    """CPU threads per worker on this machine, from Ray's CPU count, which a container may limit."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    counted = next((n["Resources"].get("CPU", 1) for n in ray.nodes() if n["NodeID"] == node), 1)
    return max(1, int(min(counted, os.cpu_count() or 1)) // max(1, workers_here))


def forward_logs(mailbox: Any, first: bool) -> logging.Handler:
    """Send this worker's log lines to the launcher: all lines of the first worker, only warnings of the others."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mailbox.put({"kind": "log", "logger": record.name, "level": record.levelno, "text": record.getMessage()})

    handler = Forward(logging.INFO if first else logging.WARNING)
    logger = logging.getLogger("groot_ray")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler
