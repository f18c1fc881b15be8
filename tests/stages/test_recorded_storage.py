"""Results of version 0.1 are found, listed and shown; `storage_of_0_1.json` holds the JSON files of one experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groot_ray.experiment.document import Document, load_document
from groot_ray.stages import run_all
from groot_ray.stages.catalog import describe_experiment, experiments
from groot_ray.stages.registry import open_work
from groot_ray.stages.state import inspect_stage
from groot_ray.storage import Location, open_location
from groot_ray.storage.lease import last_attempt
from groot_ray.storage.status import read_status

RECORDED = json.loads(Path(__file__).with_name("storage_of_0_1.json").read_text(encoding="utf-8"))
DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.yaml"
FOLDERS = {
    "download": "c1c70d77c06fb556",
    "convert": "08535ebfcfcc8d13",
    "finetune": "e32047b4ef640651",
    "evaluate": "af739b0c29c00694",
}


@pytest.fixture
def storage(tmp_path: Path) -> Location:
    root = open_location(tmp_path / "outputs")
    for path, content in RECORDED.items():
        (root / "demo" / path).write_json(content)
    return root


def demo(storage: Location, **changes: object) -> Document:
    given = {f"experiment.{name.replace('__', '.')}": value for name, value in changes.items()}
    return load_document(DEMO, {"experiment.storage.uri": storage.uri, **given})


def test_everything_is_found_done(aloha_dataset: Path, storage: Location) -> None:
    """The source may have moved: only its content counts."""
    document = demo(storage, source__uri=str(aloha_dataset))
    outcomes = run_all(document)
    assert {outcome.stage: (outcome.state, outcome.folder.name) for outcome in outcomes} == {
        stage: ("skipped", folder) for stage, folder in FOLDERS.items()
    }
    for stage in FOLDERS:
        state = inspect_stage(document, stage)
        assert state.done and state.ready and state.key == FOLDERS[stage]
        assert last_attempt(state.folder).code == 0 and read_status(state.folder)["state"] == "done"


def test_it_is_listed_and_shown(storage: Location) -> None:
    (found,) = experiments(storage)
    assert found.name == "demo" and found.done == tuple(FOLDERS)
    text = describe_experiment(storage / "demo")
    for stage, folder in FOLDERS.items():
        assert f"* {stage} {folder}: done" in text
    assert "done (300 steps), 1 attempt" in text and "checkpoints 150, 300" in text
    assert f"from convert {FOLDERS['convert']}" in text


def test_more_steps_continue_the_run_and_fewer_do_not(aloha_dataset: Path, storage: Location) -> None:
    def place(max_steps: int) -> str:
        document = demo(storage, source__uri=str(aloha_dataset), training__max_steps=max_steps)
        return open_work(document).place("finetune").folder.name

    assert (place(300), place(400), place(100)) == (
        FOLDERS["finetune"],
        FOLDERS["finetune"],
        f"{FOLDERS['finetune']}.2",
    )
