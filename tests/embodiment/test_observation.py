"""A live frame is treated as the training frames were, and a live state is mapped as conversion maps it."""

from __future__ import annotations

import numpy as np
import pytest

from groot_ray.embodiment import load_embodiment
from groot_ray.errors import DataError
from groot_ray.video.transform import fit_frame


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)


@pytest.mark.parametrize("fit", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("name", ["top", "observation.images.top"])
def test_frames_get_the_cameras_own_treatment(picture, fit, name):
    embodiment = load_embodiment(
        {"preset": "aloha", "cameras": [{"key": "top", "source": "observation.images.top", "fit": fit}]}
    )
    seen = embodiment.observation(np.zeros(14, np.float32), {name: picture}, "hand over the cube", size=224)
    assert seen["video"]["top"].shape == (1, 1, 224, 224, 3)
    np.testing.assert_array_equal(seen["video"]["top"][0, 0], fit_frame(picture, 224, fit))
    assert seen["language"] == {"task": [["hand over the cube"]]}


def test_state_is_mapped_and_only_trained_parts_are_given(picture):
    embodiment = load_embodiment("aloha_gr1_full")
    state = np.arange(14, dtype=np.float32)
    seen = embodiment.observation(state, {"ego_view": picture}, "go")["state"]
    assert {key: part.shape for key, part in seen.items()} == {
        "left_arm": (1, 1, 7),
        "left_hand": (1, 1, 6),
        "right_arm": (1, 1, 7),
        "right_hand": (1, 1, 6),
        "waist": (1, 1, 3),
    }
    np.testing.assert_array_equal(seen["right_hand"][0, 0], np.full(6, 13))
    by_name = embodiment.observation({"observation.state": state}, {"ego_view": picture}, "go")["state"]
    np.testing.assert_array_equal(by_name["left_arm"], seen["left_arm"])
    assert all(part.dtype == np.float32 for part in seen.values())


def test_missing_or_odd_inputs_are_named(picture):
    embodiment = load_embodiment("trossen_mobile")
    frames = {"cam_high": picture, "cam_left_wrist": picture, "cam_right_wrist": picture}
    with pytest.raises(DataError, match="camera 'cam_left_wrist'.*did you mean 'cam_left_wrst'"):
        embodiment.observation(
            np.zeros(19), {"cam_high": picture, "cam_left_wrst": picture, "cam_right_wrist": picture}, "go"
        )
    with pytest.raises(DataError, match=r"camera 'cam_high' gave float64 \[480, 640, 3\]"):
        embodiment.observation(np.zeros(19), {**frames, "cam_high": picture / 255}, "go")
    with pytest.raises(DataError, match="live state: column 'observation.state' has 18 dimensions"):
        embodiment.observation(np.zeros(18), frames, "go")
