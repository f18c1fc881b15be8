"""What `groot-ray inspect` prints of real and in-house recordings."""

from __future__ import annotations

import json

from groot_ray.dataset.inspect import fitting_presets, summary
from groot_ray.dataset.source.formats import open_source
from groot_ray.storage import open_location


def opened(path):
    return open_source(open_location(path))


def test_real_aloha(aloha_dataset):
    text = summary(opened(aloha_dataset))
    for part in (
        "LeRobot v2.1, 50 frames",
        "4, 1600 frames",
        "observation.images.top: 480x640, av1",
        "aloha, aloha_gr1, aloha_gr1_full",
        "left_gripper",
    ):
        assert part in text
    assert "note" not in text


def test_in_house_recordings(ball2):
    source = opened(ball2)
    assert fitting_presets(source) == ["trossen_mobile"]
    assert "'hand over', 1 episode(s)" in summary(source)


def test_real_unitree_g1(shared_dir):
    source = opened(shared_dir / "data/g1_pick_bottle")
    assert fitting_presets(source) == []
    assert "groot-ray inspect --propose" in summary(source)


def test_surprises_are_noted(ball2, edit_json):
    edit_json(ball2 / "meta/info.json", lambda info: (info.update(total_frames=7), info.pop("codebase_version")))
    lines = [json.loads(line) for line in (ball2 / "meta/episodes.jsonl").read_text().splitlines()]
    (ball2 / "meta/episodes.jsonl").write_text("".join(json.dumps({**line, "length": 21}) + "\n" for line in lines))
    (ball2 / "videos/chunk-000/cam_high/episode_000000.mp4").unlink()
    text = summary(opened(ball2))
    for part in (
        "total_frames 7",
        "no codebase_version",
        "has 20 rows, the metadata lists 21",
        "'observation.images.cam_high' is missing",
    ):
        assert part in text
