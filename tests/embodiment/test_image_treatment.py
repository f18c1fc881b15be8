"""Size and fit of the training images: read from a dataset, recorded in checkpoints."""

from __future__ import annotations

import pytest

from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.images import CameraImage, camera_images, read_images, write_images
from groot_ray.errors import DataError

VIDEO = {"top": "observation.images.top", "side": "observation.images.side", "depth": "observation.images.depth"}
FEATURES = {
    "observation.images.top": {"dtype": "video", "shape": [224, 224, 3], "names": ["height", "width", "channel"]},
    "observation.images.side": {"dtype": "video", "shape": [3, 240, 320], "names": ["channel", "height", "width"]},
    "observation.images.depth": {"dtype": "video"},
}


def test_sizes_come_from_the_dataset_and_fits_from_the_robot():
    robot = load_embodiment(
        {"preset": "aloha", "cameras": [{"key": "top", "source": "observation.images.top", "fit": "letterbox"}]}
    )
    assert camera_images(VIDEO, FEATURES, robot) == {
        "top": CameraImage(224, 224, "letterbox"),
        "side": CameraImage(240, 320, None),
    }


def test_what_is_written_is_read(tmp_path):
    assert read_images(tmp_path) is None
    images = camera_images(VIDEO, FEATURES, None)
    write_images(tmp_path, images)
    assert read_images(tmp_path) == images


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cameras": {"top": {"height": 2, "width": 2, "fit": "zoom"}}}'])
def test_a_broken_record_is_named(tmp_path, text):
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(DataError, match="images.json.*copy the checkpoint again"):
        read_images(tmp_path)
