"""Finetuning on Ray Train: starts the workers, follows them, and restarts them if some are lost.

Ray stores no state of a run: it gets metrics only, and the run's folder determines where to resume.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from groot_ray.dataset.groot.layout import choose_part
from groot_ray.errors import ServiceUnavailableError, TemporaryFailureError
from groot_ray.experiment.stages import FINETUNE
from groot_ray.progress import Progress
from groot_ray.ray_session import ensure_ray
from groot_ray.storage import check_storage
from groot_ray.storage.lease import Lease, claim_attempt
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.checkpoints.summary import FinetuneSummary, summarize
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.ray.follower import Follower
from groot_ray.train.ray.restart import count_failures, may_restart
from groot_ray.train.ray.workers import launch, resources
from groot_ray.train.recording.trackers import require_wandb
from groot_ray.train.start.resolve import resolve_plan

log = logging.getLogger(__name__)

ATTEMPTS = ".groot-ray"  # where a plain output folder keeps its attempts


def finetune(
    plan: FinetunePlan, *, lease: Lease | None = None, progress: Progress | None = None, force: bool = False
) -> FinetuneSummary:
    """Finetune on a dataset in GR00T's layout, or resume a run that was interrupted.

    Args:
        lease: the right to write into the run's folder, checked before each commit; claimed there by default.
        progress: counts optimizer steps.
        force: remove an existing run and start over.

    Raises:
        StoppedError: the user asked for it (stop.json, Ctrl-C); a checkpoint was saved, from which the same call
            resumes.
        ConfigurationError, DataError: options, model and dataset do not fit each other.
        TemporaryFailureError: workers were lost repeatedly.
    """
    plan = replace(plan, dataset=choose_part(plan.dataset, "train"))  # before anything is written
    check_storage(plan.output)
    if lease is not None:
        return _finetune(plan, lease, progress, force)
    attempt = claim_attempt(plan.output / ATTEMPTS)
    assert attempt is not None
    with attempt:
        return _finetune(plan, attempt.stoppable, progress, force)


def _finetune(plan: FinetunePlan, lease: Lease, progress: Progress | None, force: bool) -> FinetuneSummary:
    run, training = RunFolder(plan.output), plan.training
    if force:
        run.clear()
    run.clear_stop()
    finished = run.finished(training.max_steps)
    if finished is not None:
        log.info("the run in %s is complete: %d steps", plan.output.uri, training.max_steps)
        return summarize(run, finished, already_done=True)
    if training.use_wandb:
        require_wandb()
    plan = resolve_plan(plan)
    name = training.experiment_name or FINETUNE.name
    log.info("%s: training on %s, checkpoints in %s", name, plan.dataset.uri, plan.output.uri)
    if training.workers[1] > 0:
        ensure_ray()
    bar = progress or Progress(FINETUNE.name, training.max_steps)
    _train_to_the_end(plan, lease, run, Follower(bar, training.max_steps, resources))
    last = run.finished(training.max_steps)
    assert last is not None
    for saved in run.recoveries():
        run.remove(saved.folder)
    return summarize(run, last)


def _train_to_the_end(plan: FinetunePlan, lease: Lease, run: RunFolder, follower: Follower) -> None:
    """Start the workers, and restart them after each loss, until the run is finished."""
    failures = 0
    while run.finished(plan.training.max_steps) is None:
        before = run.reached()
        try:
            launch(plan, lease, run, follower)
        except (TemporaryFailureError, ServiceUnavailableError) as error:
            lease.check()
            reached = run.reached()
            failures = count_failures(failures, before, reached)
            if not may_restart(failures):
                raise
            log.warning("%s; restarting the workers from step %d", error, reached)
