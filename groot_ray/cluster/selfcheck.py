"""What `helm test` runs: storage supports all that stages need, and no stage of the release has failed for good.

usage: python -m groot_ray.cluster.selfcheck DOCUMENT.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from groot_ray.cluster.kube.exit_codes import NEVER_RETRIED
from groot_ray.cluster.kube.settings import load_release_document
from groot_ray.errors import GrootRayError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.stages.place import experiment_location
from groot_ray.stages.state import inspect_stage
from groot_ray.storage import check_storage
from groot_ray.storage.lease import last_attempt


def selfcheck(path: Path) -> list[str]:
    """Check a release from inside its namespace; returns what is wrong, and prints what is right."""
    document = load_release_document(path)
    root = experiment_location(document.experiment)
    check_storage(root)
    print(f"storage: {root} can be written, read and listed, and keeps create-only writes")
    stages = (document.cluster or ClusterOptions()).stages.items()
    failures = [_check_stage(document, name) for name, stage in stages if stage.enabled]
    return [sentence for sentence in failures if sentence]


def _check_stage(document: Document, name: str) -> str:
    """Print how far a stage is; if it has failed for good, return that as a sentence instead."""
    state = inspect_stage(document, name)
    last = last_attempt(state.folder)
    if state.done:
        print(f"{name}: done, {state.folder}")
    elif last is not None and last.ended and last.code in NEVER_RETRIED:
        return f"{name} has failed: {last.sentence}"
    elif last is not None and not last.ended:
        print(f"{name}: attempt {last.number} is running")
    else:
        print(f"{name}: waits{f' for {state.waits_for}' if state.waits_for else ''}")
    return ""


def main(arguments: list[str]) -> int:
    """Run the check; returns the exit code."""
    try:
        wrong = selfcheck(Path(arguments[0]))
    except GrootRayError as error:
        wrong = [str(error)]
    for sentence in wrong:
        print(f"groot-ray: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
