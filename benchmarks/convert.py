"""How fast one core converts: ``python -m benchmarks.convert DATASET [EMBODIMENT]`` prints a table.

Every variant converts the first camera of the same episode in its own process, in turn with the others. The
best of the turns counts: source frames per CPU-second (children's CPU time included) and the largest resident memory.

- naive: what conversion scripts commonly do: imageio reads all frames, numpy crops, cv2 resizes, cv2 writes mp4v.
- ours: `convert_episode`, with the numbers.
- floor: decoding alone, of all packets and of the needed ones; no conversion that decodes can be faster.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.turns import best_of_turns, print_table
from groot_ray.embodiment.mapping import map_columns

VARIANTS = ("import only", "naive", "ours", "floor, all packets", "floor, needed packets")


def run_variant(variant: str, dataset: str, embodiment: str, episode: int) -> int:
    """Convert (or decode) once; returns the number of source frames."""
    from groot_ray.convert.measure import measure_episode
    from groot_ray.dataset.source.formats import open_source
    from groot_ray.embodiment.load import load_embodiment
    from groot_ray.experiment.schema import ConversionOptions
    from groot_ray.storage import open_location

    source, robot, options = open_source(open_location(dataset)), load_embodiment(embodiment), ConversionOptions()
    robot = robot.model_copy(update={"cameras": robot.cameras[:1]})
    measure = measure_episode(source, episode, robot, options)
    variants: dict[str, Callable[[Any, Any, Any, int, Any], None]] = {
        "naive": naive,
        "ours": ours,
        "floor, all packets": decode_all,
        "floor, needed packets": decode_needed,
    }
    if variant in variants:
        variants[variant](source, robot, options, episode, measure)
    return measure.rows


def naive(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """All frames in memory, cropped and resized one by one, written as mp4v."""
    import cv2
    import imageio.v3 as imageio
    import numpy as np

    cv2.setNumThreads(1)
    with source.clip(episode, robot.cameras[0].source).location.as_local() as path:
        images = imageio.imread(path, plugin="FFMPEG", ffmpeg_params=["-threads", "1"])
    columns = source.read_columns(episode, robot.source_columns())
    kept = [min(int((i / 20) * source.fps), len(images) - 1) for i in range(int(len(images) / source.fps * 20))]
    map_columns(robot, "state", columns)[kept]
    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(f"{folder}/out.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 20, (256, 256))
        for index in kept:
            image = images[index]
            side = min(image.shape[:2])
            top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
            image = cv2.resize(image[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA)
            writer.write(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
        writer.release()


def ours(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """The product's own conversion of one episode."""
    from groot_ray.convert.episode import Numbering, convert_episode

    with tempfile.TemporaryDirectory() as folder:
        numbers = {text: i for i, text in enumerate(measure.tasks)}
        convert_episode(source, episode, Numbering(0, 0, numbers), robot, options, Path(folder))


def decode_all(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """Decode all of the file and discard the frames."""
    from groot_ray.video.container import open_video

    with source.clip(episode, robot.cameras[0].source).location.as_local() as path:
        container, stream = open_video(path)
        with container:
            for _ in container.decode(stream):
                pass


def decode_needed(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """Decode what the kept frames need and do nothing with it."""
    from groot_ray.convert.measure import episode_sampling
    from groot_ray.video.clip import open_clip

    sampling = episode_sampling(source, episode, measure.rows, options)
    with open_clip(source.clip(episode, robot.cameras[0].source)) as frames:
        for _ in frames.decode(sampling.indices):
            pass


def measured(variant: str, dataset: str, embodiment: str, episode: int) -> dict[str, float]:
    """Run a variant in this process: CPU-seconds without imports, source frames, resident MB before and at most."""
    import resource
    import time

    import av  # noqa: F401
    import cv2  # noqa: F401
    import imageio.v3  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import groot_ray.convert.episode  # noqa: F401

    run_variant("import only", dataset, embodiment, episode)

    def cpu() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    base = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line).split()[1])
    start = cpu()
    frames = run_variant(variant, dataset, embodiment, episode)
    seconds = cpu() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": seconds, "frames": frames, "base": base / 1024, "peak": (peak + children) / 1024}


def main() -> None:
    """Parse the command line, run the variants in turns and print the table."""
    parser = argparse.ArgumentParser(prog="python benchmarks/convert.py", description=__doc__.split("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("embodiment", nargs="?", default="aloha_gr1")
    parser.add_argument("--episode", type=int, default=0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measured(options.variant, options.dataset, options.embodiment, options.episode)))
        return
    arguments = [options.dataset, options.embodiment, "--episode", str(options.episode)]
    best = best_of_turns("benchmarks.convert", VARIANTS[1:], options.turns, arguments)
    speeds = {variant: found["frames"] / found["seconds"] for variant, found in best.items()}
    floor = speeds["floor, needed packets"]
    print_table(
        [
            "variant",
            "source frames per CPU-second",
            "of naive",
            "of the needed-packet floor",
            "peak MB",
            "beyond imports, MB",
        ],
        [
            [
                variant,
                f"{speeds[variant]:.0f}",
                f"{speeds[variant] / speeds['naive']:.1f}x",
                f"{speeds[variant] / floor:.0%}",
                f"{found['peak']:.0f}",
                f"{found['peak'] - found['base']:.0f}",
            ]
            for variant, found in best.items()
        ],
    )


if __name__ == "__main__":
    main()
