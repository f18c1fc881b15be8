"""What runs on the head of a Ray cluster for `groot-ray submit`: the stages of the submitted document, one after the other.

usage: python -m groot_ray.cluster.ray.remote all|STAGE...
"""

from __future__ import annotations

import logging
import sys

from groot_ray.cluster.driver import document_from_environment, one_line_errors


def main(arguments: list[str]) -> None:
    """Run the named stages of the submitted document, or all."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("groot_ray").setLevel(logging.INFO)
    with one_line_errors():
        from groot_ray.stages import run_all, summary

        outcomes = run_all(document_from_environment(), None if arguments in ([], ["all"]) else arguments)
        print(summary(outcomes), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
