"""`groot-ray job` as a process: its cost while it waits, and a stage from claim to manifest on a real Ray head."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from namespace import run_in_namespace
from rendering import REPOSITORY, Helm, minimal, of_kind

from groot_ray.experiment.document import build_document


def write_release(helm: Helm, values: dict[str, Any], folder: Path) -> None:
    """The chart's ConfigMap, as the files that a Job's pod sees."""
    (data,) = [item["data"] for item in of_kind(helm.render(values), "ConfigMap")]
    for name, text in data.items():
        (folder / name).write_text(text)


def external(**experiment: Any) -> dict[str, Any]:
    values = minimal(
        ray={"mode": "external", "address": "http://127.0.0.1:8265", "token_secret": "ray-token"}, jobs={"poll": 1}
    )
    values["experiment"].update(
        {"splits": {"train": 3, "test": 1}, "model": {"base": None, "size": "tiny"}, **experiment}
    )
    return values


def test_a_waiting_job_is_small(helm4: Helm, s3, tmp_path: Path) -> None:
    values = external(storage={"uri": f"s3://{s3.name}/experiments"})
    write_release(helm4, values, tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "groot_ray.cli.main", "job", "finetune", "--document", str(tmp_path / "document.json")],
        cwd=REPOSITORY,
        env={**os.environ, **s3.server.environment, "MALLOC_ARENA_MAX": "2"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "waiting for download" in line, line
        time.sleep(3)
        assert process.poll() is None
        resident = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024
        assert resident < 80, f"{resident:.0f} MB while waiting"
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "/ray/" not in maps and "/torch/" not in maps and "/numpy/" not in maps
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 75, "terminated: another pod may continue"


def test_a_changed_release_ends_its_old_pods(helm4: Helm, tmp_path: Path) -> None:
    write_release(helm4, external(), tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "groot_ray.cli.main",
            "job",
            "convert",
            "--document",
            str(tmp_path / "document.json"),
            "--digest",
            "another",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 75 and "new Job takes over" in done.stderr


SCRIPT = """
ray start --head --port=6379 --dashboard-host=0.0.0.0 --num-cpus=2 --object-store-memory=100000000 \\
    --disable-usage-stats > ray.log 2>&1
export PYTHONPATH={repository} JOB=1
job() {{ python -m groot_ray.cli.main job "$1" --document {folder}/document.json; }}
job download || {{ echo DOWNLOAD $?; cat ray.log; exit 1; }}
job convert > first.log 2>&1 &
first=$!
for _ in $(seq 300); do grep -q submitted first.log && break; sleep 0.2; done
kill -9 $first                                   # the Job's pod is lost; the driver continues
job convert > second.log 2>&1; echo SECOND $?
job convert > third.log 2>&1; echo THIRD $?
echo ==first; cat first.log; echo ==second; cat second.log; echo ==third; cat third.log
"""


@pytest.mark.slow
def test_a_killed_job_is_followed_again(helm4: Helm, aloha_dataset: Path, tmp_path: Path) -> None:
    values = external()
    write_release(helm4, values, tmp_path)
    document = json.loads((tmp_path / "document.json").read_text())
    document["experiment"]["storage"]["uri"] = str(tmp_path / "storage")  # a folder that driver and Job share here
    document["experiment"]["source"]["uri"] = str(aloha_dataset)
    (tmp_path / "document.json").write_text(json.dumps(document))
    build_document(document)
    out = run_in_namespace(SCRIPT.format(repository=REPOSITORY, folder=tmp_path), tmp_path)
    assert "SECOND 0" in out and "THIRD 0" in out
    second, third = out.split("==second")[1].split("==third")
    assert "following it" in second and "submitted" not in second, "one attempt, followed again"
    assert "is done" in third and "submitted" not in third
    (attempts,) = (tmp_path / "storage" / "walk" / "convert").glob("*/attempts")
    assert not (attempts / "2.json").exists() and (attempts / "1.end.json").exists()
    logs = list((tmp_path / "storage" / "walk" / "convert").glob("*/logs/attempt-1/*"))
    assert logs, "the driver's log is in storage"
