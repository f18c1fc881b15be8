"""What runs on the head of a Ray cluster for one stage: the stage itself, under the attempt that the Job has claimed.

The document, the attempt and the submission's id come in the environment (GROOT_RAY_DOCUMENT, GROOT_RAY_ATTEMPT, GROOT_RAY_SUBMISSION), so
nothing has to be mounted and an external cluster works the same. The exit code is the one that the Job passes on.

usage: python -m groot_ray.cluster.driver STAGE
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.experiment.document import Document, build_document
from groot_ray.storage.lease import end_attempt, last_attempt, outcome_of
from groot_ray.storage.location import Location, open_location
from groot_ray.storage.logs import LogShipper, log_folder
from groot_ray.versions import check_node

log = logging.getLogger(__name__)

RAY_LOGS = Path("/tmp/ray/session_latest/logs")


def document_variable(text: str) -> str:
    """A document's JSON for the environment of a Ray job: without dollar signs, which Ray would expand.

    Everything hangs on the document, keys of stages included, so it does not rely on how an external cluster's Ray expands.
    """
    return text.replace("$", "\\u0024")


def document_from_environment() -> Document:
    """The document that was submitted."""
    text = os.environ.get("GROOT_RAY_DOCUMENT")
    if not text:
        raise ConfigurationError(
            "GROOT_RAY_DOCUMENT is not set; this module is started by `groot-ray job` and `groot-ray submit`"
        )
    return build_document(json.loads(text), None, "the submitted document")


def run(stage: str) -> None:
    """Run one stage to its manifest under the claimed attempt.

    Before the plan is made nobody knows the stage's folder; the Job's attempt then lies beside the plan, and the stage claims its own.
    """
    from groot_ray.cluster.status.pipeline import look
    from groot_ray.stages import run_stage
    from groot_ray.storage.lease import adopt_attempt

    document = document_from_environment()
    number, _, owner = os.environ.get("GROOT_RAY_ATTEMPT", "").partition(":")
    if not number.isdigit():
        raise ConfigurationError("GROOT_RAY_ATTEMPT names no attempt; this module is started by `groot-ray job`")
    claimed = open_location(
        os.environ["GROOT_RAY_LEASE"], document.experiment.storage.endpoint, document.experiment.storage.region
    )
    view = look(document, stage)
    try:
        with DriverLog(log_folder(claimed, int(number))):
            if view.folder == claimed and view.pinned:
                run_stage(document, stage, attempt=(int(number), owner))
            else:
                with adopt_attempt(claimed, int(number), owner):
                    run_stage(document, stage)
    except BaseException as error:
        write_down_end(claimed, int(number), owner, error)
        raise


def write_down_end(folder: Location, number: int, owner: str, error: BaseException) -> None:
    """Write down how an attempt ended that failed before the stage had taken it over."""
    try:
        last = last_attempt(folder)
        if last is not None and (last.number, last.owner) == (number, owner) and not last.ended:
            end_attempt(folder, last, *outcome_of(error))
    except GrootRayError as trouble:
        log.warning("the end of attempt %d could not be written down: %s", number, trouble)


class DriverLog(LogShipper):
    """Brings what this driver prints to storage, the lines of workers on other nodes included, which Ray forwards to it."""

    def __init__(self, folder: Location) -> None:
        super().__init__(folder)
        submission = os.environ.get("GROOT_RAY_SUBMISSION")
        if submission:
            self.follow(RAY_LOGS, f"job-driver-{submission}.log")

    def emit(self, record: logging.LogRecord) -> None:
        """The driver's own lines are in the file that is followed."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors that are meant for people become one line and their exit code."""
    try:
        yield
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def main(arguments: list[str]) -> None:
    """Run the stage that is named in `arguments`."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("groot_ray").setLevel(logging.INFO)
    with one_line_errors():
        if len(arguments) != 1:
            raise ConfigurationError("usage: python -m groot_ray.cluster.driver STAGE")
        check_node()
        run(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
