"""A conversion in its own process, for tests that kill it: ``python killed.py SOURCE OUTPUT [skip-bad]``."""

from __future__ import annotations

import sys

from groot_ray.convert import pipeline
from groot_ray.convert.finish import ConversionSummary
from groot_ray.convert.plan import ConversionRequest
from groot_ray.convert.splits import split_episodes
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment.load import load_embodiment
from groot_ray.experiment.schema import ConversionOptions, SplitOptions
from groot_ray.ray_session import ensure_ray
from groot_ray.storage import Location, open_location

OPTIONS = ConversionOptions(resolution=64)
SPLITS = SplitOptions(validation=2, test=3, seed=1)


def convert(source: str, output: str, **changes: object) -> ConversionSummary:
    """The conversion that the tests compare."""
    return pipeline.convert_dataset(request(open_location(source), open_location(output), **changes))


def request(source: Location, output: Location, **changes: object) -> ConversionRequest:
    """Its request; `changes` are conversion options."""
    recording = open_source(source)
    splits = split_episodes([episode.index for episode in recording.episodes], SPLITS)
    options = OPTIONS.model_copy(update=changes)
    return ConversionRequest(recording, load_embodiment("trossen_mobile"), options, splits, output)


if __name__ == "__main__":
    pipeline.SEGMENT_SECONDS = (
        0.5  # so that a kill finds some episodes listed, some finished but not listed, some begun
    )
    ensure_ray(cpus=2)
    convert(sys.argv[1], sys.argv[2], skip_bad="skip-bad" in sys.argv)
