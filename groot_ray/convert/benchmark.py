"""How fast one core converts: ``python -m groot_ray.convert.benchmark DATASET [EMBODIMENT]`` prints a table.

Every variant converts the first camera of the same episode in a process of its own, in turns with the others, and the best of the turns
counts: source frames per CPU-second (children's CPU time included) and the largest resident memory.

- naive: what conversion scripts commonly do: imageio reads all frames, numpy crops, cv2 resizes, cv2 writes mp4v.
- ours: `convert_episode`, with the numbers.
- floor: decoding alone, of all packets and of the needed ones; no conversion that decodes can be faster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIANTS = ("import only", "naive", "ours", "floor, all packets", "floor, needed packets")


def run_variant(variant: str, dataset: str, embodiment: str, episode: int) -> int:
    """Convert (or decode) once; returns the number of source frames."""
    from groot_ray.convert.measure import measure_episode
    from groot_ray.dataset.source.lerobot_v2 import open_source
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
    with source.video(episode, robot.cameras[0].source).as_local() as path:
        pictures = imageio.imread(path, plugin="FFMPEG", ffmpeg_params=["-threads", "1"])
    columns = source.read_columns(episode, robot.source_columns())
    kept = [min(int((i / 20) * source.fps), len(pictures) - 1) for i in range(int(len(pictures) / source.fps * 20))]
    robot.map_state(columns)[kept]
    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(f"{folder}/out.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 20, (256, 256))
        for index in kept:
            picture = pictures[index]
            side = min(picture.shape[:2])
            top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
            picture = cv2.resize(
                picture[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA
            )
            writer.write(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR))
        writer.release()


def ours(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """The product's own conversion of one episode."""
    from groot_ray.convert.episode import Numbering, convert_episode

    with tempfile.TemporaryDirectory() as folder:
        numbers = {text: i for i, text in enumerate(measure.tasks)}
        convert_episode(source, episode, Numbering(0, 0, numbers), robot, options, Path(folder))


def decode_all(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """Decode the whole file and do nothing with it."""
    from groot_ray.video.container import open_video

    with source.video(episode, robot.cameras[0].source).as_local() as path:
        container, stream = open_video(path)
        with container:
            for _ in container.decode(stream):
                pass


def decode_needed(source: Any, robot: Any, options: Any, episode: int, measure: Any) -> None:
    """Decode what the kept frames need and do nothing with it."""
    from groot_ray.convert.measure import episode_sampling
    from groot_ray.video.decode import decode_frames

    sampling = episode_sampling(source, episode, measure.rows, options)
    with source.video(episode, robot.cameras[0].source).as_local() as path:
        for _ in decode_frames(path, sampling.indices):
            pass


def measured(variant: str, dataset: str, embodiment: str, episode: int) -> dict[str, float]:
    """Run a variant in this process: CPU-seconds without imports, source frames, resident megabytes before and at most."""
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
    parser = argparse.ArgumentParser(prog="python -m groot_ray.convert.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("embodiment", nargs="?", default="aloha_gr1")
    parser.add_argument("--episode", type=int, default=0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measured(options.variant, options.dataset, options.embodiment, options.episode)))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.turns):
        for variant in VARIANTS[1:]:
            command = [sys.executable, "-m", "groot_ray.convert.benchmark", options.dataset, options.embodiment]
            command += ["--episode", str(options.episode), "--variant", variant]
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            if variant not in best or found["seconds"] < best[variant]["seconds"]:
                best[variant] = found
    speeds = {variant: found["frames"] / found["seconds"] for variant, found in best.items()}
    floor = speeds["floor, needed packets"]
    print(
        "| variant | source frames per CPU-second | of naive | of the needed-packet floor | peak MB | beyond imports, MB |"
    )
    print("|---|---|---|---|---|---|")
    for variant, found in best.items():
        print(
            f"| {variant} | {speeds[variant]:.0f} | {speeds[variant] / speeds['naive']:.1f}x | {speeds[variant] / floor:.0%} "
            f"| {found['peak']:.0f} | {found['peak'] - found['base']:.0f} |"
        )


if __name__ == "__main__":
    main()
