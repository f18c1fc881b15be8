"""The tag of a run is known, or refused with the list, before weights are fetched and workers started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import ModelOptions
from groot_ray.storage import open_location
from groot_ray.train.modalities import known_tag


@pytest.mark.parametrize("base", [None, "nvidia/GR00T-N1.6-3B"])
def test_an_unknown_tag_is_answered_with_the_list(base: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigurationError, match="no embodiment tag 'custom_robot'.*NEW_EMBODIMENT.*UNITREE_G1"):
        known_tag("custom_robot", ModelOptions(base=base), None)


def test_a_base_model_may_bring_tags_of_its_own(tmp_path: Path, s3) -> None:
    (tmp_path / "embodiment_id.json").write_text(json.dumps({"custom_robot": 5}))
    config = {"processor_kwargs": {"modality_configs": {"agibot": {}}}}
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    for name in ("embodiment_id.json", "processor_config.json"):
        (s3.location / "base" / name).write_bytes((tmp_path / name).read_bytes())
    for base in (str(tmp_path), (s3.location / "base").uri):
        assert known_tag("custom-robot", ModelOptions(base=base), None) == "CUSTOM_ROBOT"
        assert known_tag("agibot", ModelOptions(base=base), None) == "AGIBOT"
        with pytest.raises(ConfigurationError, match=r"no embodiment tag 'other'.*CUSTOM_ROBOT"):
            known_tag("other", ModelOptions(base=base), None)


def test_a_conversions_folder_is_trained_on_by_its_train_part(train_set: Path, tmp_path: Path) -> None:
    from groot_ray.dataset.layout import choose_part

    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "train").symlink_to(train_set)
    root = open_location(tmp_path / "converted")
    assert choose_part(root, "train").uri.endswith("/converted/train")
    assert choose_part(root / "train", "train") == root / "train"
    with pytest.raises(ConfigurationError, match=r"has no test part, only train: give it episodes .*--test-episodes"):
        choose_part(root, "test")
    with pytest.raises(ConfigurationError, match="is no dataset in GR00T's layout"):
        choose_part(open_location(tmp_path), "train")
