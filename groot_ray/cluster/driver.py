"""What runs on the head of a Ray cluster for one stage: the stage itself, under the attempt that its Job has claimed.

Document, attempt and submission id come in the environment (GROOT_RAY_DOCUMENT, GROOT_RAY_ATTEMPT, GROOT_RAY_LEASE,
GROOT_RAY_SUBMISSION), so nothing has to be mounted, and an external cluster works the same. The Job passes on the exit
code.

usage: python -m groot_ray.cluster.driver STAGE
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from groot_ray.cluster.ray.document import document_from_environment
from groot_ray.cluster.ray.program import program
from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.stages import run_stage
from groot_ray.stages.state import inspect_stage
from groot_ray.storage.lease import adopt_attempt, end_attempt, last_attempt, outcome_of
from groot_ray.storage.location import Location, open_location
from groot_ray.storage.logs import LogShipper, log_folder
from groot_ray.versions import check_node

log = logging.getLogger(__name__)

RAY_LOGS = Path("/tmp/ray/session_latest/logs")


def run(stage: str) -> None:
    """Run one stage to its manifest under the claimed attempt.

    Before the plan is made, the stage's folder is unknown: the Job's attempt is then stored beside the plan, and the
    stage claims another in its own folder.
    """
    document = document_from_environment()
    number, _, owner = os.environ.get("GROOT_RAY_ATTEMPT", "").partition(":")
    if not number.isdigit():
        raise ConfigurationError("GROOT_RAY_ATTEMPT does not name an attempt; `groot-ray job` starts this module")
    storage = document.experiment.storage
    claimed = open_location(os.environ["GROOT_RAY_LEASE"], storage.endpoint, storage.region)
    state = inspect_stage(document, stage)
    try:
        with DriverLog(log_folder(claimed, int(number))):
            if state.pinned and state.folder == claimed:
                run_stage(document, stage, attempt=(int(number), owner))
            else:
                with adopt_attempt(claimed, int(number), owner):
                    run_stage(document, stage)
    except BaseException as error:
        record_end(claimed, int(number), owner, error)
        raise


def record_end(folder: Location, number: int, owner: str, error: BaseException) -> None:
    """Record how an attempt ended that failed before the stage had taken it over."""
    try:
        last = last_attempt(folder)
        if last is not None and (last.number, last.owner) == (number, owner) and not last.ended:
            end_attempt(folder, last, *outcome_of(error))
    except GrootRayError as trouble:
        log.warning("the end of attempt %d could not be recorded: %s", number, trouble)


class DriverLog(LogShipper):
    """Ships this driver's output to storage, with the lines of workers on other nodes, which Ray forwards to it."""

    def __init__(self, folder: Location) -> None:
        super().__init__(folder)
        submission = os.environ.get("GROOT_RAY_SUBMISSION")
        if submission:
            self.follow(RAY_LOGS, f"job-driver-{submission}.log")

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing: the driver's own lines are in the file that is followed."""


def main(arguments: list[str]) -> None:
    """Run the stage that is named in `arguments`."""
    with program():
        if len(arguments) != 1:
            raise ConfigurationError("usage: python -m groot_ray.cluster.driver STAGE")
        check_node()
        run(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
