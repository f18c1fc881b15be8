"""Whatever `experiment check` accepts ends in a result or in one sentence, never in a traceback, in limited memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import write_ball2
from drawn_documents import documents
from hypothesis import HealthCheck, Phase, given, seed, settings
from run_drawn import checked

from groot_ray.errors import LONGEST_MESSAGE, GrootRayError

SCRIPT = Path(__file__).with_name("run_drawn.py")


class Runner:
    """A process that runs documents; `ends` counts how they ended."""

    def __init__(self, folder: Path) -> None:
        source = write_ball2(folder / "source", episodes=3, frames=40, size=(48, 64), codec="h264")
        words = [sys.executable, str(SCRIPT), str(source), str(folder / "runs")]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.ends: Counter[str] = Counter()

    def run(self, document: dict[str, Any]) -> dict[str, str]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(document), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the process died of {document}"
        end: dict[str, str] = json.loads(answer)
        self.ends[end["end"]] += 1
        return end

    def must_end_well(self, document: dict[str, Any]) -> None:
        end = self.run(document)
        assert end["end"] != "traceback", f"{document}\n{end['text']}"
        assert "\n" not in end["text"] and len(end["text"].encode()) <= LONGEST_MESSAGE, end["text"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    started = Runner(tmp_path_factory.mktemp("drawn"))
    yield started
    started.process.kill()
    started.process.wait()


def drawn(examples: int) -> Any:
    return settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@seed(1)
@drawn(100)
@given(document=documents())
def test_drawn_documents_are_accepted_or_refused_in_one_sentence(document: dict[str, Any]) -> None:
    try:
        checked("source", document)
    except GrootRayError as error:
        assert "\n" not in str(error) and len(str(error).encode()) <= LONGEST_MESSAGE, str(error)


def test_a_batch_beyond_the_memory_is_one_sentence_with_both_numbers(runner: Runner) -> None:
    end = runner.run({"training": {"global_batch_size": 1_000_000}, "splits": {"test": 1}})
    assert end["end"] == "sentence", end
    assert "training needs at least" in end["text"] and "which has" in end["text"], end["text"]


@pytest.mark.slow
@seed(2)
@drawn(60)
@given(document=documents())
def test_many_documents_end_well(runner: Runner, document: dict[str, Any]) -> None:
    runner.must_end_well(document)
