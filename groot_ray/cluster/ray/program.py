"""What the programs on a Ray head share: logging, and errors as one line with an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from groot_ray.errors import GrootRayError


@contextmanager
def program() -> Iterator[None]:
    """Log to standard error; a GrootRayError becomes one line and its exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("groot_ray").setLevel(logging.INFO)
    try:
        yield
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
