"""Complete conversions on a real Ray: complete parts, broken episodes, kills at any point, two runs at once, S3."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from converted import contents
from killed import SPLITS, convert, request

from groot_ray.convert import pipeline, stream
from groot_ray.convert.ledger import Ledger
from groot_ray.convert.plan import ConversionRequest
from groot_ray.convert.splits import split_episodes
from groot_ray.dataset.groot.dataset import GrootDataset, layout
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment.load import load_embodiment
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import ConfigurationError, DataError, TemporaryFailureError
from groot_ray.experiment.schema import ConversionOptions, SplitOptions
from groot_ray.storage import open_location
from groot_ray.storage.lease import claim_attempt
from groot_ray.video.probe import probe

pytestmark = pytest.mark.usefixtures("one_ray")


@pytest.fixture(scope="module")
def whole(many: Path, one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed conversion of `many`."""
    output = tmp_path_factory.mktemp("whole")
    convert(str(many), str(output))
    return output


def check_complete(part: Path, source: Path, chosen: tuple[int, ...]) -> None:
    """A part is complete: numbered from 0, with matching metadata and the numbers of the right source episodes."""
    dataset = GrootDataset(part)
    info = dataset.info
    lengths = [e.length for e in dataset.episodes]
    assert [e.index for e in dataset.episodes] == list(range(len(chosen))) == list(range(info["total_episodes"]))
    assert info["total_frames"] == sum(lengths) and info["splits"] == {"train": f"0:{len(chosen)}"}
    recorded = [json.loads(line) for line in (source / "meta/episodes.jsonl").read_text().splitlines()]
    first = 0
    for position, source_index in enumerate(chosen):
        table = pq.read_table(dataset.data(position))
        assert len(table) == lengths[position] == int(recorded[source_index]["length"] / 30 * 20)
        assert table["index"].to_pylist() == list(range(first, first + len(table)))
        assert set(table["episode_index"].to_pylist()) == {position}
        task = dataset.tasks[table["task_index"][0].as_py()]
        assert [task] == recorded[source_index]["tasks"] == list(dataset.episodes[position].tasks)
        original = pq.read_table(source / f"data/chunk-000/episode_{source_index:06d}.parquet")
        np.testing.assert_array_equal(table["action"][0].as_py(), original["action"][0].as_py())
        for key in dataset.modality.video:
            assert probe(dataset.video(position, key)).frames == len(table)
        first += len(table)
    assert len(list(part.rglob("*.parquet"))) == len(chosen)
    assert len(list(part.rglob("*.mp4"))) == len(chosen) * len(dataset.modality.video)
    configs = modality_configs(dataset.embodiment)
    assert np.shape(dataset.relative_stats["left_arm"]["mean"]) == (16, 7)
    states = np.concatenate([dataset.arrays(i).state["left_arm"] for i in range(len(chosen))]).astype(np.float64)
    cut = dataset.modality.slice("state", "left_arm")
    np.testing.assert_allclose(
        dataset.stats["observation.state"]["mean"][cut.start : cut.end], states.mean(0), atol=1e-6
    )
    assert dataset.statistics(configs)


def test_parts_are_complete(whole: Path, many: Path) -> None:
    splits = split_episodes(range(12), SPLITS)
    for part, chosen in splits.parts().items():
        check_complete(whole / part, many, chosen)
    assert {path.name for path in whole.iterdir()} == {"train", "validation", "test", "conversion"}
    train, test = (json.loads((whole / part / layout.STATS).read_text()) for part in ("train", "test"))
    assert train["action"]["mean"] != test["action"]["mean"]


def test_a_second_call_only_reads(whole: Path, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file() and "attempts" not in path.parts
    }
    monkeypatch.setattr(pipeline, "stream", None)
    summary = convert(str(many), str(whole))
    assert summary.parts["train"]["episodes"] == 7 and not summary.unused and not summary.bad
    assert before == {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file() and "attempts" not in p.parts}


def test_other_options_do_not_mix(whole: Path, many: Path) -> None:
    with pytest.raises(ConfigurationError, match="another conversion; choose another folder"):
        convert(str(many), str(whole), quality=30)
    assert contents(whole)


def test_a_folder_with_other_files_is_rejected(many: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "precious.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="no conversion wrote"):
        convert(str(many), str(tmp_path))
    assert (tmp_path / "train" / "precious.txt").read_text() == "mine" and not (
        tmp_path / "conversion/plan.json"
    ).exists()


def test_one_worker_gives_the_same_bytes(whole: Path, many: Path, tmp_path: Path) -> None:
    convert(str(many), str(tmp_path), workers=1)
    assert contents(tmp_path) == contents(whole)


def test_the_demos_episodes(aloha_dataset: Path, tmp_path: Path) -> None:
    recording = open_source(open_location(aloha_dataset))
    splits = split_episodes([episode.index for episode in recording.episodes], SplitOptions(train=2, test=1))
    robot, output = load_embodiment("aloha_gr1"), open_location(tmp_path)
    summary = pipeline.convert_dataset(ConversionRequest(recording, robot, ConversionOptions(), splits, output))
    assert summary.parts == {"train": {"episodes": 2, "frames": 320}, "test": {"episodes": 1, "frames": 160}}
    assert summary.unused == (3,)
    assert json.loads((tmp_path / "conversion/report.json").read_text())["episodes_in_no_part"] == [3]


# Broken episodes.


def test_where_the_source_is_does_not_matter(whole: Path, many: Path, tmp_path: Path) -> None:
    """The same recordings elsewhere (another node's disk) continue the conversion; other recordings do not."""
    shutil.copytree(whole, tmp_path / "out")
    shutil.copytree(many, tmp_path / "moved")
    assert convert(str(tmp_path / "moved"), str(tmp_path / "out")).parts == convert(str(many), str(whole)).parts
    lines = (tmp_path / "moved/meta/episodes.jsonl").read_text()
    (tmp_path / "moved/meta/episodes.jsonl").write_text(lines.replace("lift", "raise"))
    with pytest.raises(ConfigurationError, match="another source"):
        convert(str(tmp_path / "moved"), str(tmp_path / "out"))


@pytest.fixture
def broken(many: Path, tmp_path: Path) -> Path:
    """Episode 4 lost its last video frames, 7 its parquet file, 9 has a damaged image: each is found at a different
    moment.
    """
    path = tmp_path / "broken"
    shutil.copytree(many, path)
    videos = path / "videos/chunk-000/cam_high"
    shutil.copy(videos / "episode_000000.mp4", videos / "episode_000004.mp4")
    (path / "data/chunk-000/episode_000007.parquet").unlink()
    file = videos / "episode_000009.mp4"
    file.write_bytes(file.read_bytes()[:-300])
    return path


def test_the_first_broken_episode_stops_the_conversion(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"episode 7 of .*does not exist"):
        convert(str(broken), str(tmp_path / "out"))
    shutil.copy(broken / "data/chunk-000/episode_000002.parquet", broken / "data/chunk-000/episode_000007.parquet")
    with pytest.raises(DataError, match=r"episode (4|9) of .*--skip-bad"):
        convert(str(broken), str(tmp_path / "out"))
    assert not (tmp_path / "out/conversion/report.json").exists()


def test_skip_bad_leaves_no_gap(broken: Path, tmp_path: Path) -> None:
    summary = convert(str(broken), str(tmp_path / "out"), skip_bad=True)
    assert sorted(summary.bad) == [4, 7, 9]
    assert (
        "24 frames for 36 rows" in summary.bad[4]
        and "does not exist" in summary.bad[7]
        and "truncated" in summary.bad[9]
    )
    report = json.loads((tmp_path / "out/conversion/report.json").read_text())
    assert sorted(report["bad_episodes"]) == ["4", "7", "9"]
    splits = split_episodes(range(12), SPLITS)
    for part, chosen in splits.parts().items():
        good = tuple(index for index in chosen if index not in summary.bad)
        check_complete(tmp_path / "out" / part, broken, good)


def test_skip_bad_with_nothing_left(broken: Path, tmp_path: Path) -> None:
    (broken / "meta/info.json").write_text((broken / "meta/info.json").read_text().replace('"fps": 30', '"fps": 10'))
    with pytest.raises(DataError, match="left to train on.*recorded at 10 frames per second"):
        convert(str(broken), str(tmp_path / "out"), skip_bad=True)


# Kills.


def start(source: Path, output: Path, *flags: str) -> subprocess.Popen:
    folder = Path(__file__).parent
    paths = os.pathsep.join(
        [str(folder), str(folder.parent), str(folder.parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    return subprocess.Popen(
        [sys.executable, str(folder / "killed.py"), str(source), str(output), *flags],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(condition, process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.poll() is None, f"the process ended with {process.returncode}"
        time.sleep(0.02)


def test_a_killed_conversion_continues(whole: Path, many: Path, tmp_path: Path) -> None:
    """SIGKILL of the driver after some episodes, with one file half-written; finished work is not repeated."""
    process = start(many, tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("*/data/*/*.parquet"))) >= 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "conversion/report.json").exists()
    time.sleep(1.0)  # Ray's processes end after their driver
    finished = {path: path.stat().st_ino for path in tmp_path.glob("*/data/*/*.parquet")}
    assert 4 <= len(finished) < 12
    (tmp_path / "train/data/chunk-000/.groot-ray-0123.partial").write_bytes(b"half")
    listed = Ledger(open_location(tmp_path / "conversion/ledger")).read()
    summary = convert(str(many), str(tmp_path))
    assert contents(tmp_path) == contents(whole)
    assert {path: path.stat().st_ino for path in finished} == finished
    assert summary.parts["train"]["episodes"] == 7
    assert len(Ledger(open_location(tmp_path / "conversion/ledger")).read()) == 12 > len(listed)


def worker_pids() -> list[int]:
    """Ray's task processes of this test run."""
    import psutil

    children = psutil.Process().children(recursive=True)
    return [p.pid for p in children if any(part.startswith("ray::") and "Map" in part for part in p.cmdline()[:1])]


def test_killed_workers_are_replaced(whole: Path, many: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        while not stop.is_set() and len(killed) < 3:
            for pid in worker_pids()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.3)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        convert(str(many), str(tmp_path))
    finally:
        stop.set()
        thread.join()
    assert killed
    assert contents(tmp_path) == contents(whole)


def test_killed_while_closing_gaps(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a conversion, interrupted after each of its writes in turn, gives the same result when restarted."""
    expected = tmp_path / "expected"
    convert(str(broken), str(expected), skip_bad=True)
    output = tmp_path / "out"
    shutil.copytree(expected, output)
    # Back to the moment when all episodes are listed and none has moved: reconverting restores their first numbers.
    for part in ("train", "validation", "test"):
        shutil.rmtree(output / part)
    (output / "conversion/report.json").unlink()
    shutil.rmtree(output / "conversion/ledger")

    class PowerCut(Exception):
        pass

    class Lease:
        """Fails at the n-th check in this process; copies in workers do not count."""

        def __init__(self, checks: int) -> None:
            self.left = checks

        def check(self) -> None:
            self.left -= 1
            if self.left == 0:
                raise PowerCut

        def __reduce__(self):
            return Lease, (0,)

    cuts = 0
    for checks in range(1, 200):
        try:
            pipeline.convert_dataset(
                request(open_location(broken), open_location(output), skip_bad=True), attempt=Lease(checks)
            )
            break
        except PowerCut:
            cuts += 1
    assert cuts > 15
    assert contents(output) == contents(expected)


# Two at once.


def test_two_runs_at_once_do_the_work_once(whole: Path, many: Path, tmp_path: Path) -> None:
    summaries: list = []
    threads = [threading.Thread(target=lambda: summaries.append(convert(str(many), str(tmp_path)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(summaries) == 2 and summaries[0] == summaries[1]
    assert contents(tmp_path) == contents(whole)
    sources = [
        row["source_index"]
        for segment in sorted((tmp_path / "conversion/ledger").iterdir())
        for row in pq.read_table(segment).to_pylist()
    ]
    assert sorted(sources) == list(range(12))


def test_a_run_that_was_taken_over_stops(
    whole: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder presumed dead writes nothing after the next attempt was claimed."""
    attempt = claim_attempt(open_location(tmp_path / "conversion"))
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "0")
    successor = claim_attempt(open_location(tmp_path / "conversion"))
    monkeypatch.delenv("GROOT_RAY_LEASE_SILENCE")
    asked = request(open_location(many), open_location(tmp_path))
    with pytest.raises(TemporaryFailureError, match="was taken over by a later attempt"):
        pipeline.convert_dataset(asked, attempt=attempt)
    assert not contents(tmp_path) and not (tmp_path / "conversion/plan.json").exists()
    pipeline.convert_dataset(asked, attempt=successor)
    successor.end(0, "done")
    assert contents(tmp_path) == contents(whole)


def test_on_s3(whole: Path, many: Path, tmp_path: Path, s3) -> None:
    """Source and output are in object storage, which workers reach through the environment."""
    from groot_ray.storage.tree import download_tree, upload_tree

    upload_tree(many, s3.location / "recordings")
    summary = convert(f"{s3.uri}/recordings", f"{s3.uri}/out")
    assert summary.parts["test"]["episodes"] == 3
    download_tree(s3.location / "out", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(whole)


def test_stream_hands_over_every_result_and_the_users_errors() -> None:
    def square(payload: object, number: int) -> int:
        if payload is None:
            raise DataError("number 5 is bad")
        if payload == "bug":
            raise RuntimeError("unexpected")
        return 3 * number * number

    assert dict(stream.stream(square, 3, 20, workers=2)) == {i: 3 * i * i for i in range(20)}
    with pytest.raises(DataError, match="number 5 is bad"):
        dict(stream.stream(square, None, 6))
    with pytest.raises(Exception, match="unexpected"):
        dict(stream.stream(square, "bug", 2))
