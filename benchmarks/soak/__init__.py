"""Kills parts of the pipeline at random and compares the bytes of its results: ``python -m benchmarks.soak --help``.

A *trial* is one pipeline (download, convert, finetune, evaluate) in fresh storage with a few faults. A fault is chosen
by the trial's seed: a stage, a moment in it, a target (driver, worker, raylet ...), a signal. If the driver ends, the
same command runs again, as a Kubernetes Job would run it, until it is done. The results must then have the bytes of
an undisturbed run, every end must have had an exit code of `groot_ray.errors` or that of its signal, no output may
hold a traceback, and no process may stay.
"""
