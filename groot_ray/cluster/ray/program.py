"""What the programs on a Ray head share: logging, and errors as one line with an exit code."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from groot_ray.errors import GrootRayError
from groot_ray.termination import EndedBySignal, end_process, signals_as_errors


@contextmanager
def program() -> Iterator[None]:
    """Log to standard error; a GrootRayError becomes one line and its exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("groot_ray").setLevel(logging.INFO)
    try:
        with signals_as_errors(signal.SIGTERM):
            yield
    except EndedBySignal as end:
        print(f"groot-ray: {end}", file=sys.stderr, flush=True)
        end_process(end.exit_code)
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr, flush=True)
        end_process(error.exit_code)
