"""What `helm test` runs: storage does all that stages need, and no stage of the release has failed for good.

usage: python -m groot_ray.cluster.selfcheck DOCUMENT.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from groot_ray.cluster.job.job import NEVER_AGAIN, read_document
from groot_ray.cluster.status.pipeline import experiment_location, look
from groot_ray.errors import GrootRayError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.storage import check_storage
from groot_ray.storage.lease import last_attempt


def selfcheck(path: Path) -> list[str]:
    """Check a release from inside its namespace; returns what is wrong, and prints what is right."""
    document = read_document(path)
    check_storage(experiment_location(document))
    print(f"storage: {experiment_location(document)} can be written, read and listed, and keeps create-only writes")
    wrong = []
    for name, stage in (document.cluster or ClusterOptions()).stages.items():
        if not stage.enabled:
            continue
        view = look(document, name)
        last = last_attempt(view.folder)
        if view.done:
            print(f"{name}: done, {view.folder}")
        elif last is not None and last.ended and last.code in NEVER_AGAIN:
            wrong.append(f"{name} has failed: {last.sentence}")
        elif last is not None and not last.ended:
            print(f"{name}: attempt {last.number} is at work")
        else:
            print(f"{name}: waits{f' for {view.waits_for}' if view.waits_for else ''}")
    return wrong


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
