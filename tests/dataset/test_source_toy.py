"""A new source format needs no change of the package: it is registered, pinned and converted like the others."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import toy_source
from ray import cloudpickle
from toy_source import FPS, TOY, ToyRecording, number_of, write_toy

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.dataset.inspect import summary
from groot_ray.dataset.source import formats
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment.detect import propose_embodiment
from groot_ray.errors import DataError
from groot_ray.experiment.document import Document
from groot_ray.stages import run_stage
from groot_ray.stages.registry import open_work
from groot_ray.storage import open_location

LENGTHS = (31, 25, 40, 28)
TASKS = ("lift", "put down")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four episodes, with the format registered for this test."""
    monkeypatch.setattr(formats, "FORMATS", [*formats.FORMATS, TOY])
    cloudpickle.register_pickle_by_value(toy_source)  # Ray's workers do not know the folder of these tests
    return write_toy(tmp_path / "toy", LENGTHS, TASKS)


def document(source: Path, folder: Path, **options: object) -> Document:
    robot = propose_embodiment(open_source(open_location(source))).to_json()
    return Document.model_validate(
        {
            "experiment": {
                "name": "toy",
                "storage": {"uri": str(folder / "out"), "cache": str(folder / "cache")},
                "source": {"uri": str(source)},
                "embodiment": robot,
                "conversion": {"resolution": 64},
                "splits": {"test": 1},
                **options,
            }
        }
    )


def test_it_is_opened_and_described(toy: Path) -> None:
    recording = open_source(open_location(toy))
    assert isinstance(recording, ToyRecording)
    text = summary(recording)
    assert "Toy 1, 30 frames per second" in text and "4, 124 frames" in text
    one = pickle.loads(pickle.dumps(recording.select([2])))
    assert one.frame_tasks(2) == ["lift"] * 40
    np.testing.assert_array_equal(one.read_columns(2, ["action"])["action"][:, 0], np.arange(56, 96) + 0.5)
    with pytest.raises(DataError, match="has no episode 1; it lists 1 from 2 to 2"):
        one.clip(1, "front")


def test_an_unknown_dataset_is_refused_with_the_versions_that_are_read(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "new/meta").mkdir(parents=True)
    (tmp_path / "new/meta/info.json").write_text('{"codebase_version": "v3.0"}')
    with pytest.raises(DataError, match=r"format v3.0; only v2.0 and v2.1 and toy1 are supported"):
        open_source(open_location(tmp_path / "new"))


def test_the_stages_convert_it(toy: Path, tmp_path: Path, one_ray: None) -> None:
    """Every converted frame shows its own number, also at the boundaries between episodes."""
    asked = document(toy, tmp_path)
    outcomes = [run_stage(asked, stage) for stage in ("download", "convert")]
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    pin = open_work(asked).source
    assert (pin.version, pin.files, pin.parts) == ("toy1", 3, {"train": [0, 1, 2], "test": [3]})
    firsts = np.cumsum([0, *LENGTHS])
    for part, chosen in pin.parts.items():
        dataset = GrootDataset(outcomes[1].folder.path / part)
        for position, index in enumerate(chosen):
            length = LENGTHS[index]
            kept = [min(int((i / 20) * FPS), length - 1) for i in range(int(length / FPS * 20))]
            numbers = (firsts[index] + np.asarray(kept)).tolist()
            images = dataset.frames(position, dataset.embodiment.cameras[0].key, range(len(kept)))
            assert [number_of(image) for image in images] == numbers
            arrays = dataset.arrays(position)
            (state,), (action,) = arrays.state.values(), arrays.action.values()
            assert state[:, 0].tolist() == numbers and action[:, 0].tolist() == [n + 0.5 for n in numbers]
            assert dataset.episodes[position].tasks == (TASKS[index % 2],)


def test_a_video_that_is_too_short_is_reported(toy: Path, tmp_path: Path, one_ray: None) -> None:
    title = (toy / "toy.json").read_text()
    os.remove(toy / "film.mp4")
    write_toy(tmp_path / "short", LENGTHS[:3], TASKS)
    os.rename(tmp_path / "short/film.mp4", toy / "film.mp4")
    (toy / "toy.json").write_text(title)
    with pytest.raises(DataError, match=r"episode 3 of .*camera .*film.mp4 has 96 frames, none at 3.2 s"):
        run_stage(document(toy, tmp_path), "convert", output=str(tmp_path / "plain"))
