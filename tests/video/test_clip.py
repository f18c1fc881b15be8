"""Clips in real files that hold many episodes: frames equal those of LeRobot's own reader."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from groot_ray.storage import open_location
from groot_ray.video.clip import Clip, open_clip


@pytest.mark.parametrize("name", ["aloha_v30", "recorded_v30", "edited_v30"])
def test_frames_of_lerobot_v30(shared_dir: Path, name: str) -> None:
    """AV1, and depth in HEVC with B-frames (for which only the frames are counted)."""
    root = shared_dir / "data/lerobot_v3" / name
    truth = json.loads((root / "truth.json").read_text())
    compared = 0
    for episode in truth["episodes"]:
        places = [place for place in truth["places"] if place["episode"] == episode["episode_index"]]
        for camera, span in episode["videos"].items():
            location = open_location(root / span["file"])
            by_time = Clip(location, from_timestamp=span["from_timestamp"], frames=episode["length"])
            by_frame = Clip(location, first_frame=span["first_frame_in_file"], frames=episode["length"])
            with open_clip(by_time) as clip, open_clip(by_frame) as same:
                assert clip.count == same.count == episode["length"]
                assert clip.index.pts.tolist() == same.index.pts.tolist()
                frames = list(clip.decode([place["frame"] for place in places]))
            assert len(frames) == len(places)
            if camera in truth["depth_keys"]:
                continue
            for place, frame in zip(places, frames, strict=True):
                found = hashlib.sha256(frame.to_ndarray(format="rgb24").tobytes()).hexdigest()
                assert found in place["images"][camera]["sha256"].values(), (camera, place["episode"], place["frame"])
                compared += 1
    assert compared >= 12
