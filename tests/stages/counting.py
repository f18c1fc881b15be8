"""A small stage for tests of the runner: it writes numbered files, one after the other, under its lease.

Run as a program, it does so in its own process: `counting.py SOURCE STORAGE CACHE WHERE_TO_DIE SECONDS`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from documents import document

from groot_ray.experiment.document import Document
from groot_ray.experiment.keys import stage_key
from groot_ray.experiment.stages import StageDeclaration
from groot_ray.progress import progress
from groot_ray.stages import STAGES
from groot_ray.stages.base import Context, Made, Stage
from groot_ray.stages.work import Work
from groot_ray.storage.manifest import record_files

FILES = 5


COUNT = StageDeclaration("count", "count to five", sections=("training",), after=("download",), inputs=("download",))


class Count(Stage):
    """Counts to `FILES`; the training seed is its only option. Dies at a requested point."""

    declaration = COUNT
    dies_at: str = ""
    pause: float = 0.0

    def key(self, work: Work) -> str:
        return stage_key(self.declaration, self.inputs(work), self.options(work))

    def options(self, work: Work) -> dict[str, Any]:
        return {"seed": work.experiment.training.seed}

    def run(self, context: Context) -> Made:
        with progress("count", FILES, "files", list(context.listeners)) as bar:
            for number in range(FILES):
                self.die("half" if number == 3 else "")
                context.check()
                text = f"{number} of seed {context.work.experiment.training.seed}"
                (context.output / f"made/{number}").write_text(text)
                (context.output / f"writers/{number}-{os.getpid()}-{time.time_ns()}").write_text("")
                time.sleep(self.pause)
                bar.advance(1)
        self.die("before the manifest")
        files = record_files(context.output, [f"made/{number}" for number in range(FILES)])
        return Made({"numbers": FILES}, files, f"counted to {FILES}")

    def run_plain(self, context: Context) -> Made:
        return self.run(context)

    def die(self, place: str) -> None:
        if place and place == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def counting_document(source: Path, storage: str | Path, cache: Path, seed: int = 1) -> Document:
    return document(source, storage, cache, training__seed=seed)


if __name__ == "__main__":
    import logging

    from groot_ray.stages import run_stage

    logging.basicConfig(level=logging.WARNING)
    stage = Count()
    stage.dies_at, stage.pause = sys.argv[4], float(sys.argv[5])
    STAGES[stage.name] = stage
    if stage.dies_at == "after files.parquet":
        from groot_ray.stages import record

        commit = record.commit_manifest

        def die(folder, manifest, name):
            if manifest.stage == stage.name:
                os.kill(os.getpid(), signal.SIGKILL)
            commit(folder, manifest, name)

        record.commit_manifest = die
    outcome = run_stage(counting_document(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])), "count")
    print(outcome.state)
