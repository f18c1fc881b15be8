"""Asking a running attempt to save its work and stop."""

from __future__ import annotations

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from groot_ray.storage.lease import AttemptState, last_attempt, request_stop
from groot_ray.storage.location import Location


def stop_and_wait(folder: Location, seconds: float, poll: float) -> AttemptState | None:
    """Ask the running attempt at the stage in `folder` to stop, and wait until it has, at most `seconds`.

    Args:
        seconds: time to save a checkpoint.
        poll: seconds between two looks.

    Returns:
        the attempt afterwards (still alive if it did not stop in time); None if none was running.
    """
    running = last_attempt(folder)
    if running is None or not request_stop(folder):
        return None
    number = running.number
    tries = Retrying(
        retry=retry_if_result(lambda state: state is not None and state.number == number and state.alive),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(poll),
        retry_error_callback=lambda retry: retry.outcome.result() if retry.outcome is not None else None,
    )
    state: AttemptState | None = tries(last_attempt, folder)
    return state
