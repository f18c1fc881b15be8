"""A run in its own process, for tests that kill it: ``killed_run.py [--ray] DATASET BASE OUTPUT CACHE MAX_STEPS``."""

from __future__ import annotations

import sys

from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.storage import open_location
from groot_ray.train.plan import FinetunePlan

OPTIONS = {
    "global_batch_size": 4,
    "learning_rate": 1e-3,
    "save_steps": 1000,
    "logging_steps": 3,
    "recovery_interval": 0.2,
    "state_dropout_prob": 0.2,
    "color_jitter_params": {"brightness": 0.2, "hue": 0.1},
}


def run(dataset: str, base: str, output: str, cache: str, max_steps: int, with_ray: bool, threads: int = 1) -> None:
    """The run that the tests compare: under Ray Train, or on one worker with `threads` threads in this process."""
    model, training = ModelOptions(base=base), TrainingOptions(max_steps=max_steps, **OPTIONS)
    plan = FinetunePlan(open_location(dataset), open_location(output), model, training, cache=cache)
    if with_ray:
        from groot_ray.train.ray.launcher import finetune

        finetune(plan)
        return
    from training import NoLease

    from groot_ray.train.step.collective import Alone
    from groot_ray.train.worker import Host, train_worker

    train_worker(plan, Alone(), Host(NoLease(), threads=threads))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--ray"]
    if "--ray" in sys.argv:
        from groot_ray.ray_session import ensure_ray

        ensure_ray(cpus=4)  # as in the tests, so that workers of both use the same number of threads
    run(*arguments[:4], int(arguments[4]), "--ray" in sys.argv)
