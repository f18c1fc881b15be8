"""What runs on the head of a Ray cluster for `groot-ray submit`: the stages of the submitted document, in order.

usage: python -m groot_ray.cluster.ray.remote all|STAGE...
"""

from __future__ import annotations

import sys

from groot_ray.cluster.ray.document import document_from_environment
from groot_ray.cluster.ray.program import program
from groot_ray.stages import run_all, summary


def main(arguments: list[str]) -> None:
    """Run the named stages of the submitted document, or all."""
    with program():
        outcomes = run_all(document_from_environment(), None if arguments in ([], ["all"]) else arguments)
        print(summary(outcomes), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
