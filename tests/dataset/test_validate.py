"""A sound dataset passes; each kind of damage is found, with episode and column."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from groot_ray.dataset.checks.validate import validate_dataset


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_lines(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_sound_dataset_passes(groot):
    report = validate_dataset(groot)
    assert report.problems == [] and report.warnings == []
    assert (report.episodes, report.frames) == (3, 94)
    assert "no problems" in report.text()


def test_the_references_dataset_passes(shared_dir):
    report = validate_dataset(shared_dir / "fixtures/groot_n1d6/dataset")
    assert report.problems == [] and report.warnings == []
    assert (report.episodes, report.frames) == (4, 106)


EPISODE_1 = "data/chunk-000/episode_000001.parquet"
VIDEO_1 = "videos/chunk-000/ego_view/episode_000001.mp4"


def value(column, row, dim, number):
    def change(columns):
        columns[column][row][dim] = number

    return change


PARQUET = {
    "nan": (value("action", 3, 5, math.nan), 1, "action", "nan at row 3, dimension 5"),
    "infinity": (value("observation.state", 0, 0, math.inf), 1, "observation.state", "inf at row 0"),
    "missing column": (lambda c: c.pop("action"), 1, "action", "missing from the parquet file"),
    "width": (
        lambda c: c.update(action=[row[:40] for row in c["action"]]),
        1,
        "action",
        "40 dimensions, but meta/info.json says 44",
    ),
    "rows": (
        lambda c: [c.update({name: values[:20]}) for name, values in list(c.items())],
        1,
        None,
        "20 rows, but meta/episodes.jsonl lists 24",
    ),
    "frame_index": (lambda c: c["frame_index"].__setitem__(4, 9), 1, "frame_index", "does not count the frames"),
    "episode_index": (lambda c: c.update(episode_index=[2] * 24), 1, "episode_index", "holds 2, expected 1"),
    "timestamp": (lambda c: c["timestamp"].__setitem__(6, 0.0), 1, "timestamp", "does not increase at row 6"),
    "task": (lambda c: c.update(task_index=[5] * 24), 1, "task_index", "holds task 5"),
}


@pytest.mark.parametrize("change,episode,column,sentence", PARQUET.values(), ids=PARQUET.keys())
def test_damaged_columns(groot, edit_parquet, change, episode, column, sentence):
    edit_parquet(groot / EPISODE_1, change)
    report = validate_dataset(groot)
    assert any(p.episode == episode and p.column == column and sentence in p.text for p in report.problems), (
        report.text()
    )


def replace_video(root):
    from groot_ray.video.encode import VideoWriter

    with VideoWriter(root / VIDEO_1, 20, 64) as writer:
        for _ in range(10):
            writer.write(np.zeros((64, 64, 3), np.uint8))


def change_feature(root, edit):
    edit(root / "meta/info.json", lambda info: info["features"]["ego_view"]["info"].update({"video.codec": "av1"}))


FILES = {
    "parquet missing": (lambda root, _: (root / EPISODE_1).unlink(), 1, "does not exist"),
    "parquet truncated": (
        lambda root, _: (root / EPISODE_1).write_bytes((root / EPISODE_1).read_bytes()[:500]),
        1,
        "truncated",
    ),
    "video missing": (lambda root, _: (root / VIDEO_1).unlink(), 1, "the video of camera 'ego_view' is missing"),
    "video truncated": (lambda root, _: (root / VIDEO_1).write_bytes((root / VIDEO_1).read_bytes()[:900]), 1, "video"),
    "video too short": (lambda root, _: replace_video(root), 1, "10 frames for 24 rows"),
    "codec": (change_feature, 0, "codec is h264, meta/info.json says av1"),
    "image size": (
        lambda root, edit: edit(root / "meta/info.json", lambda i: i["features"]["ego_view"].update(shape=[32, 32, 3])),
        0,
        "64x64, meta/info.json says 32x32",
    ),
    "fps": (
        lambda root, edit: edit(root / "meta/info.json", lambda i: i.update(fps=25)),
        2,
        "runs at 20 frames per second, meta/info.json says 25",
    ),
    "total": (
        lambda root, edit: edit(root / "meta/info.json", lambda i: i.update(total_frames=3)),
        None,
        "total_frames 3, the files have 94",
    ),
    "slice": (
        lambda root, edit: edit(root / "meta/modality.json", lambda m: m["action"]["waist"].update(end=45)),
        None,
        "[41:45] of a column with 44",
    ),
    "camera": (
        lambda root, edit: edit(
            root / "meta/modality.json", lambda m: m["video"]["ego_view"].update(original_key="ego_vew")
        ),
        None,
        "did you mean 'ego_view'",
    ),
    "annotation": (
        lambda root, edit: edit(root / "meta/modality.json", lambda m: m.update(annotation={"human.x": {}})),
        None,
        "annotation 'human.x'",
    ),
    "other slices": (
        lambda root, edit: edit(root / "meta/modality.json", lambda m: m["state"].pop("neck")),
        None,
        "differ from those of meta/embodiment.json",
    ),
    "embodiment": (
        lambda root, edit: edit(root / "meta/embodiment.json", lambda e: e.update(action_horizon=0)),
        None,
        "not an embodiment description",
    ),
    "stats missing": (lambda root, _: (root / "meta/stats.json").unlink(), None, "stats.json is missing"),
    "stats of other data": (
        lambda root, edit: edit(root / "meta/stats.json", lambda s: s["action"]["max"].__setitem__(2, 9.0)),
        None,
        "says max 9 of dimension 2",
    ),
    "stats not finite": (
        lambda root, edit: edit(root / "meta/stats.json", lambda s: s["action"]["std"].__setitem__(2, math.nan)),
        None,
        "a std that is not finite",
    ),
    "stats too few": (
        lambda root, edit: edit(root / "meta/stats.json", lambda s: s["action"].pop("q01")),
        None,
        "has no q01",
    ),
    "stats too narrow": (
        lambda root, edit: edit(root / "meta/stats.json", lambda s: s["action"].update(mean=[0.0] * 29)),
        None,
        "mean of shape [29] instead of [44]",
    ),
    "relative missing": (
        lambda root, _: (root / "meta/relative_stats.json").unlink(),
        None,
        "relative_stats.json is missing",
    ),
    "relative key": (
        lambda root, edit: edit(root / "meta/relative_stats.json", lambda s: s.pop("left_arm")),
        None,
        "RELATIVE action",
    ),
    "relative horizon": (
        lambda root, edit: edit(
            root / "meta/relative_stats.json", lambda s: s["left_arm"].update(mean=s["left_arm"]["mean"][:8])
        ),
        None,
        "of shape [8, 7] instead of [16, 7]",
    ),
    "relative order": (
        lambda root, edit: edit(
            root / "meta/relative_stats.json",
            lambda s: s["left_arm"].update(min=s["left_arm"]["max"], max=s["left_arm"]["min"]),
        ),
        None,
        "above",
    ),
    "no modality.json": (lambda root, _: (root / "meta/modality.json").unlink(), None, "modality.json is missing"),
    "no episodes": (lambda root, _: (root / "meta/episodes.jsonl").write_text(""), None, "has no episodes"),
}


@pytest.mark.parametrize("spoil,episode,sentence", FILES.values(), ids=FILES.keys())
def test_damaged_files(groot, edit_json, spoil, episode, sentence):
    spoil(groot, edit_json)
    report = validate_dataset(groot)
    assert any(p.episode == episode and sentence in p.text for p in report.problems), report.text()
    assert json.loads(json.dumps(report.to_json()))["problems"][0]["text"]


def test_numbering(groot):
    file = groot / "meta/episodes.jsonl"
    lines = lines_of(file)
    write_lines(file, [*lines, lines[2]])
    assert any(p.episode == 2 and "twice" in p.text for p in validate_dataset(groot).problems)
    write_lines(file, [lines[0], lines[2]])
    report = validate_dataset(groot)
    assert any("lists no episode 1" in w.text for w in report.warnings)
    assert any("1 parquet file(s) belong to no listed episode" in w.text for w in report.warnings)
    write_lines(file, [{**line, "tasks": []} for line in lines])
    assert [p.episode for p in validate_dataset(groot).problems if "no task text" in p.text] == [0, 1, 2]


def test_videos_may_be_left_out(groot):
    shutil.rmtree(groot / "videos")
    assert validate_dataset(groot, videos=False).problems == []
    assert len(validate_dataset(groot).problems) == 3


def test_long_reports_are_cut_for_people_only(groot, edit_parquet):
    file = groot / "meta/episodes.jsonl"
    lines = lines_of(file)
    write_lines(
        file, [*lines, *({"episode_index": index, "length": 5, "tasks": ["put it down"]} for index in range(3, 73))]
    )
    report = validate_dataset(groot)
    assert len(report.to_json()["problems"]) >= 70
    assert "more; --json prints all" in report.text() and len(report.text().splitlines()) < 70
