"""The tag of a run is known, or rejected with a list of known ones, before weights are fetched or workers started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError, DataError, ServiceUnavailableError
from groot_ray.experiment.schema import ModelOptions
from groot_ray.storage import open_location
from groot_ray.train.start.modalities import base_tags, known_tag


def test_an_unknown_tag_is_answered_with_the_list() -> None:
    with pytest.raises(ConfigurationError, match="no embodiment tag 'custom_robot'.*NEW_EMBODIMENT.*UNITREE_G1"):
        known_tag("custom_robot", ModelOptions(base=None), None)


def test_an_unavailable_base_model_is_not_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: object, **more: object) -> None:
        raise ServiceUnavailableError("the hub does not answer")

    monkeypatch.setattr("groot_ray.hub.fetch_files", away)
    with pytest.raises(ServiceUnavailableError, match="'custom_robot'.*NEW_EMBODIMENT.*is unavailable: the hub"):
        known_tag("custom_robot", ModelOptions(base="nvidia/GR00T-N1.6-3B"), None)
    assert known_tag("gr1", ModelOptions(base="nvidia/GR00T-N1.6-3B"), None) == "GR1", "the hub is not asked for it"


def test_broken_tag_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "embodiment_id.json").write_text("[1, 2")
    with pytest.raises(ConfigurationError, match="no embodiment tag"):
        known_tag("custom_robot", ModelOptions(base=str(tmp_path)), None)
    with pytest.raises(DataError, match="embodiment_id.json"):
        base_tags(str(tmp_path), None, None)


def test_a_base_model_may_have_its_own_tags(tmp_path: Path, s3) -> None:
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
    from groot_ray.dataset.groot.layout import choose_part

    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "train").symlink_to(train_set)
    root = open_location(tmp_path / "converted")
    assert choose_part(root, "train").uri.endswith("/converted/train")
    assert choose_part(root / "train", "train") == root / "train"
    with pytest.raises(ConfigurationError, match=r"has no test part, only train: give it episodes .*--test-episodes"):
        choose_part(root, "test")
    with pytest.raises(ConfigurationError, match="is not a dataset in GR00T's layout"):
        choose_part(open_location(tmp_path), "train")
