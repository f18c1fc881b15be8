"""A conversion in a process of its own, for tests that kill it: ``python killed.py SOURCE OUTPUT [skip-bad]``."""

from __future__ import annotations

import sys

from groot_ray.convert import pipeline
from groot_ray.embodiment.load import load_embodiment
from groot_ray.experiment.schema import ConversionOptions, SplitOptions
from groot_ray.ray_session import ensure_ray
from groot_ray.storage import open_location

OPTIONS = ConversionOptions(resolution=64)
SPLITS = SplitOptions(validation=2, test=3, seed=1)


def convert(source: str, output: str, **changes: object):
    """The conversion that the tests compare."""
    options = OPTIONS.model_copy(update=changes)
    return pipeline.convert_dataset(
        open_location(source), load_embodiment("trossen_mobile"), options, SPLITS, open_location(output)
    )


if __name__ == "__main__":
    pipeline.SEGMENT_SECONDS = (
        0.5  # so that a kill finds some episodes listed, some finished but not listed, some begun
    )
    ensure_ray(cpus=2)
    convert(sys.argv[1], sys.argv[2], skip_bad="skip-bad" in sys.argv)
