"""Follows the workers of a run from outside: progress, log lines, and the error to raise."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from groot_ray.errors import GrootRayError, TemporaryFailureError
from groot_ray.progress import Progress, format_duration

log = logging.getLogger(__name__)

SHORTAGE_SECONDS = 30.0


class Follower:
    """Turns the workers' events into progress, log lines and the error to raise, across restarts of the workers.

    `resources` returns how much of a kind (CPU, GPU) Ray has, and how much of it is free.
    """

    def __init__(self, progress: Progress, max_steps: int, resources: Callable[[str], tuple[float, float]]) -> None:
        self.error: GrootRayError | None = None
        self._progress = progress
        self._max_steps = max_steps
        self._begun = time.monotonic()
        self._started = False
        self.begun = False  # whether a step may have been taken
        self._resources = resources
        self._workers, self._use_gpu = 1, False

    def begin(self, workers: int, use_gpu: bool) -> None:
        """Note that the workers are about to start."""
        self.error, self.begun = None, False
        self._begun, self._started = time.monotonic(), workers == 0  # without workers, there is nothing to wait for
        self._workers, self._use_gpu = workers, use_gpu

    def take(self, events: Sequence[dict[str, Any]]) -> None:
        """Process new events."""
        for event in events:
            self._started = True
            getattr(self, f"_on_{event['kind']}")(event)
        if not self._started and time.monotonic() - self._begun > SHORTAGE_SECONDS:
            self._started = True
            self._warn_of_shortage()

    def _on_up(self, event: dict[str, Any]) -> None:
        """A worker has started and is building its model."""

    def _on_log(self, event: dict[str, Any]) -> None:
        logging.getLogger(event["logger"]).log(event["level"], "%s", event["text"])

    def _on_begin(self, event: dict[str, Any]) -> None:
        self.begun = True
        self._progress.resume(event["step"])

    def _on_line(self, event: dict[str, Any]) -> None:
        self._progress.advance(
            event["step"] - self._progress.done,
            **{
                "loss": event["loss"],
                "lr": event["learning_rate"],
                "samples/s": event["samples_per_second"],
                "waiting for data": f"{100 * event['data_wait']:.0f}%",
            },
        )
        remaining = self._progress.snapshot().remaining
        log.info(
            "step %d/%d: loss %.5f, learning rate %.3g, gradient norm %.3g, %.1f samples/s, "
            "%.0f %% of the time waiting for data%s%s",
            event["step"], self._max_steps, event["loss"], event["learning_rate"], event["grad_norm"],
            event["samples_per_second"], 100 * event["data_wait"],
            _hardware(event), f", {format_duration(remaining)} left" if remaining else "",
        )  # fmt: skip

    def _on_saved(self, event: dict[str, Any]) -> None:
        self._progress.note(saved=event["step"])

    def _on_error(self, event: dict[str, Any]) -> None:
        # One failing worker makes others fail: an error of the user explains the lost workers that follow it.
        if self.error is None or isinstance(self.error, TemporaryFailureError):
            self.error = event["error"]

    def _warn_of_shortage(self) -> None:
        kind = "GPU" if self._use_gpu else "CPU"
        has, free = self._resources(kind)
        log.warning(
            "no training worker has started yet: %d %ss are needed, Ray has %g, of which %g are free; waiting",
            self._workers, kind, has, free,
        )  # fmt: skip


def _hardware(event: dict[str, Any]) -> str:
    """MFU and peak GPU memory of a log line, as far as it has them."""
    mfu = f", MFU {event['mfu']:.1%}" if "mfu" in event else ""
    return mfu + (f", {event['memory_gib']:.1f} GiB" if "memory_gib" in event else "")
