"""Finetuning on Ray Train: starts the workers, follows them, starts them again when some are lost.

Ray holds no truth about a run: it gets metrics, and the run's folder says where to go on from. What the workers have to tell (log
lines, errors meant for people) comes through a small actor, so that it reaches the user once and unwrapped.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import (
    GrootRayError,
    ServiceUnavailableError,
    StoppedError,
    TemporaryFailureError,
)
from groot_ray.experiment.schema import DEFAULT_CACHE, ModelOptions, TrainingOptions
from groot_ray.progress import Progress
from groot_ray.ray_session import ensure_ray, has_gpus
from groot_ray.storage import Location, check_storage
from groot_ray.storage.lease import claim_attempt
from groot_ray.train.checkpoints.run_folder import RunFolder, Saved
from groot_ray.train.ray.follower import Follower
from groot_ray.train.ray.mailbox import Mailbox, RemoteMailbox
from groot_ray.train.summary import FinetuneSummary, summarize
from groot_ray.versions import check_node

if TYPE_CHECKING:
    from groot_ray.train.assemble import FinetunePlan
    from groot_ray.train.checkpoints.saver import Lease

log = logging.getLogger(__name__)

ATTEMPTS = ".groot-ray"  # where a plain output folder keeps its attempts
FAILURES = 3  # in a row, without a new checkpoint between them
POLL_SECONDS = 0.2


def finetune(
    dataset: Location,
    output: Location,
    *,
    model: ModelOptions,
    training: TrainingOptions,
    tag: str | None = None,
    modality_configs: dict[str, Any] | None = None,
    cache: str = DEFAULT_CACHE,
    attempt: Lease | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> FinetuneSummary:
    """Finetune on a dataset in GR00T's layout, or go on with a run that was interrupted.

    Args:
        dataset: a conversion's folder (its train part is taken), or any dataset in GR00T's layout.
        output: the run's folder; see `run_folder`.
        tag: embodiment tag by name or value; the one that the dataset was converted for when not given.
        modality_configs: replaces the dataset's; `training.modality_config_path` does so too.
        cache: folder on each machine for copies of what lies in S3.
        attempt: the lease of this run, checked before each commit; one is claimed in the output folder when not given.
        progress: counts optimizer steps.
        force: remove the run that is there and begin anew.

    Raises:
        StoppedError: a person asked for it (stop.json, Ctrl-C); a checkpoint was saved, and the same call goes on from it.
        ConfigurationError, DataError: options, model and dataset do not fit each other.
        TemporaryFailureError: workers were lost again and again.
    """
    from groot_ray.dataset.groot.layout import choose_part

    dataset = choose_part(dataset, "train")  # before anything is written
    check_storage(output)
    if attempt is not None:
        return _finetune(dataset, output, model, training, tag, modality_configs, cache, attempt, progress, force)
    own = claim_attempt(output / ATTEMPTS)
    assert own is not None
    with own:
        lease = own.stoppable
        return _finetune(dataset, output, model, training, tag, modality_configs, cache, lease, progress, force)


def _finetune(
    dataset: Location,
    output: Location,
    model: ModelOptions,
    training: TrainingOptions,
    tag: str | None,
    modality_configs: dict[str, Any] | None,
    cache: str,
    attempt: Lease,
    progress: Progress | None,
    force: bool,
) -> FinetuneSummary:
    run = RunFolder(output)
    if force:
        run.clear()
    run.clear_stop()
    finished = run.finished(training.max_steps)
    if finished is not None:
        log.info("the run in %s has done its %d steps", output.uri, training.max_steps)
        return summarize(run, finished, already_done=True)
    plan = make_plan(dataset, output, model, training, tag, modality_configs, cache, attempt)
    name = training.experiment_name or "finetune"
    log.info("%s: training on %s, checkpoints in %s", name, plan.dataset.uri, output.uri)
    if training.workers[1] > 0:
        ensure_ray()
    follow = Follower(progress or Progress("finetune", training.max_steps), training.max_steps, resources)
    failures = 0
    while run.finished(training.max_steps) is None:
        before = run.newest()
        try:
            launch(plan, run, follow)
        except (TemporaryFailureError, ServiceUnavailableError) as error:
            attempt.check()
            after = run.newest()
            failures = failures + 1 if _step(before) == _step(after) else 1
            if failures >= FAILURES:
                raise
            log.warning("%s; starting the workers again, from step %d", error, _step(after))
    last = run.finished(training.max_steps)
    assert last is not None
    for saved in run.recoveries():
        run.remove(saved.folder)
    return summarize(run, last)


def _step(saved: Saved | None) -> int:
    return saved.step if saved is not None else 0


def make_plan(
    dataset: Location,
    output: Location,
    model: ModelOptions,
    training: TrainingOptions,
    tag: str | None,
    modality_configs: dict[str, Any] | None,
    cache: str,
    attempt: Lease,
) -> FinetunePlan:
    """What the workers get, after the checks that need neither Ray nor torch.

    Raises:
        ConfigurationError: the dataset is none, the tag or the modality configuration file is wrong, or wandb is not installed.
    """
    from groot_ray.train.assemble import FinetunePlan
    from groot_ray.train.modalities import known_tag
    from groot_ray.train.trackers import require_wandb

    if training.modality_config_path is not None:
        from groot_ray.embodiment.nvidia import read_modality_config

        tag, modality_configs = read_modality_config(training.modality_config_path, tag)
    if tag is not None:
        tag = known_tag(tag, model, output.endpoint)
    if training.use_wandb:
        require_wandb()
    return FinetunePlan(
        dataset,
        output,
        located(model),
        training,
        tag,
        modality_configs,
        str(Path(cache).expanduser().absolute()),
        attempt,
    )


def located(model: ModelOptions) -> ModelOptions:
    """The options with absolute paths: workers run in folders of their own."""
    values = {}
    for name in ("base", "tokenizer"):
        value = getattr(model, name)
        if value is not None and Path(value).expanduser().is_dir():
            values[name] = str(Path(value).expanduser().absolute())
    return model.model_copy(update=values)


def launch(plan: FinetunePlan, run: RunFolder, follow: Follower) -> None:
    """One start of the workers, until all have ended.

    Raises:
        GrootRayError: what a worker raised for the user.
        TemporaryFailureError: a worker was lost, or raised something unforeseen.
    """
    import ray
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    # Reports take one round of the controller's health checks, 2 s each by default.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    smallest, largest = plan.training.workers
    here = largest == 0
    if here:
        logging.getLogger("ray").setLevel(logging.WARNING)  # else each report is a line of Ray's beside ours
    mailbox = Mailbox() if here else RemoteMailbox()
    use_gpu = plan.training.use_gpu is not False if here else gpus_wanted(plan.training)
    quiet = {"logging_config": ray.train.LoggingConfig("WARNING")} if hasattr(ray.train, "LoggingConfig") else {}
    trainer = TorchTrainer(
        ray_worker,
        train_loop_config={"plan": plan, "mailbox": mailbox, "use_gpu": use_gpu, "here": here},
        scaling_config=ScalingConfig(
            num_workers=largest if smallest == largest else (smallest, largest), use_gpu=use_gpu and not here
        ),
        # Decisions go through gloo on any machine; workers with GPUs make a group of nccl's for the rest.
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            name=f"finetune-{uuid.uuid4().hex[:12]}",
            storage_path=str(Path(tempfile.gettempdir()) / "groot_ray_train"),
            failure_config=FailureConfig(max_failures=0),
            **quiet,
        ),
    )
    failure: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    follow.begin(smallest, use_gpu)
    interrupted = False
    while thread.is_alive():
        try:
            thread.join(POLL_SECONDS)
            follow.take(mailbox.take())
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            log.warning("saving and stopping; press Ctrl-C again to stop at once")
            run.request_stop()
    follow.take(mailbox.take())
    mailbox.close()
    if follow.error is not None:
        raise follow.error
    if failure and here:
        raise failure[0]
    if failure:
        raise unforeseen(failure[0]) from failure[0]


def unforeseen(error: BaseException) -> TemporaryFailureError:
    """A lost worker or a crash as an error for people, with the end of its traceback."""
    causes = getattr(error, "worker_failures", None) or {0: error}
    rank, cause = next(iter(causes.items()))
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
    told = lines[-1][:300] if lines else type(cause).__name__
    return TemporaryFailureError(f"training worker {rank} was lost ({told})")


def gpus_wanted(training: TrainingOptions) -> bool:
    """Whether each worker reserves a GPU: as the options say, else whether the cluster has any or can grow to have."""
    return has_gpus() if training.use_gpu is None else training.use_gpu


def resources(kind: str) -> tuple[float, float]:
    """How many CPUs or GPUs Ray has, and how many of them are free."""
    import ray

    return ray.cluster_resources().get(kind, 0.0), ray.available_resources().get(kind, 0.0)


def ray_worker(config: dict[str, Any]) -> None:
    """What Ray Train runs in each worker process."""
    import ray
    import ray.train
    import torch

    from groot_ray.train.step.collective import current_workers
    from groot_ray.train.step.device import training_device
    from groot_ray.train.worker import Host, train_worker

    plan, mailbox, here = config["plan"], config["mailbox"], config["here"]
    context = ray.train.get_context()
    gpu = None
    if config["use_gpu"] and torch.cuda.is_available():  # Ray may count GPUs that torch cannot use
        gpu = ray.train.torch.get_device().index or 0
    host = Host(
        gpu=gpu,
        threads=torch.get_num_threads() if here else cpu_threads(context.get_local_world_size()),
        tell=mailbox.put,
        preempted=preempted,
        saved=ray.train.report,
    )
    if not here:
        logging.getLogger().setLevel(logging.WARNING)  # Ray's line for each report, botocore's for each client
    handler = logging.NullHandler() if here else forward_logs(mailbox, context.get_world_rank() == 0)
    mailbox.put({"kind": "up"})
    try:
        check_node()
        train_worker(plan, current_workers(training_device(gpu)), host)
    except StoppedError as error:  # all workers come here together, nothing has failed
        mailbox.put({"kind": "error", "error": replaced(error)}, wait=True)
    except GrootRayError as error:
        mailbox.put({"kind": "error", "error": replaced(error)}, wait=True)
        raise
    finally:
        logging.getLogger("groot_ray").removeHandler(handler)


def replaced(error: GrootRayError) -> GrootRayError:
    """The same error without what it refers to (traceback, cause), which need not travel."""
    return type(error)(str(error))


def preempted() -> bool:
    """Whether Ray says that this run's machines are about to be taken away; all workers have to ask together."""
    import ray.train

    ask = getattr(ray.train, "get_preemption_info", None)
    return ask is not None and ask() is not None


def cpu_threads(workers_here: int) -> int:
    """CPU threads for each of the workers of this machine: of what Ray counts here, which in a container is less than there is."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    counted = next((n["Resources"].get("CPU", 1) for n in ray.nodes() if n["NodeID"] == node), 1)
    return max(1, int(min(counted, os.cpu_count() or 1)) // max(1, workers_here))


def forward_logs(mailbox: Any, first: bool) -> logging.Handler:
    """Send this worker's log lines of our package to the launcher: all of the first worker's, warnings of the others."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mailbox.put({"kind": "log", "logger": record.name, "level": record.levelno, "text": record.getMessage()})

    handler = Forward(logging.INFO if first else logging.WARNING)
    logger = logging.getLogger("groot_ray")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler
