"""A base model in a folder is used as it was pinned, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from groot_ray.errors import DataError
from groot_ray.experiment.schema import Experiment
from groot_ray.stages.pin import pin_model, pinned_files
from groot_ray.storage import open_location


def test_later_stages_get_the_pinned_files_and_reject_a_model_pinned_again(tmp_path: Path) -> None:
    model, root = tmp_path / "model", open_location(tmp_path / "out/demo")
    model.mkdir()
    for name in ("config.json", "model.safetensors", "optimizer.pt"):
        (model / name).write_text(name)
    experiment = Experiment.model_validate(
        {"name": "demo", "source": {"uri": "."}, "embodiment": "aloha", "model": {"base": str(model)}}
    )
    pin = pin_model(root, experiment, refresh=False)
    assert [file.path for file in pinned_files(root, experiment, pin)] == ["config.json", "model.safetensors"]
    (model / "model.safetensors").write_text("other weights")
    assert pin_model(root, experiment, refresh=False) == pin
    assert pinned_files(root, experiment, pin)[1].size == len("model.safetensors")
    assert pin_model(root, experiment, refresh=True) != pin  # another process pins what is there now
    with pytest.raises(DataError, match="has changed since it was pinned"):
        pinned_files(root, experiment, pin)
