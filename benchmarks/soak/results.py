"""The bytes of an experiment's results, and how those of a trial differ from the reference."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

from groot_ray.storage import Location, open_location

# What records how a result came about, not what it is. The plan names times of files; a resumed conversion has
# other segments in its ledger.
RECORDS = {"attempts", "logs", "plan", "ledger", "phases", "tensorboard"}
RECORD_FILES = {"status.json", "provenance.json", "current.json"}
# The losses of a run are results; how fast it was stands beside them. So this file is compared without its speeds,
# and lists of files without its size and hash, which `check_records` compares with the file that is there.
STATE = "trainer_state.json"
OPTIMIZER = "optimizer.safetensors"  # removed from older checkpoints, from which no run will resume
SPEEDS = {"samples_per_second", "data_wait"}


def is_result(path: str) -> bool:
    """Whether a file below the experiment's folder belongs to a result."""
    parts = path.split("/")
    return not RECORDS.intersection(parts[:-1]) and parts[-1] not in RECORD_FILES


def read_results(uri: str) -> dict[str, str]:
    """sha256 of each file of the results, by its path below the experiment's folder at a path or URI."""
    found = {}
    for entry in open_location(uri).list():
        if is_result(entry.relative):
            content = without_speeds(entry.relative, entry.location.read_bytes())
            found[entry.relative] = hashlib.sha256(content).hexdigest()
    return dict(sorted(found.items()))


def without_speeds(path: str, content: bytes) -> bytes:
    """The content of a file as it is compared."""
    if not path.startswith("finetune/"):
        return content
    name = path.rsplit("/", 1)[-1]
    if name == STATE:
        state = json.loads(content)
        for line in state["log_history"]:
            for speed in SPEEDS:
                line.pop(speed)
        return json.dumps(state).encode()
    if name.endswith("files.parquet"):
        rows = listed_in_parquet(content)
        return json.dumps([row for row in rows if not row["path"].endswith(STATE)]).encode()
    if name == "manifest.json" or name.startswith("done-"):
        manifest = json.loads(content)
        for sum_of_files in ("size", "files_hash"):
            manifest.pop(sum_of_files)
        files = manifest["made"].get("files", [])
        files[:] = [row for row in files if not row["path"].endswith(STATE)]
        return json.dumps(manifest).encode()
    return content


def listed_in_parquet(content: bytes) -> list[dict[str, Any]]:
    """The rows (path, size, sha256) of a list of files."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


def check_records(uri: str) -> list[str]:
    """Sentences on files that are not there, or not with the size and hash that a list of files names."""
    wrong = []
    for entry in open_location(uri).list():
        path = entry.relative
        above = path.rpartition("/")[0]
        if not is_result(path):
            continue
        if path.endswith("files.parquet"):
            rows = listed_in_parquet(entry.location.read_bytes())
        elif path.endswith("manifest.json"):
            rows = entry.location.read_json()["made"].get("files") or []
        else:
            continue
        wrong += [f"{above}/{row['path']}" for row in rows if not _is_as_listed(open_location(uri) / above, row)]
    return [f"{len(wrong)} files are not as listed: {', '.join(wrong[:6])}"] if wrong else []


def _is_as_listed(folder: Location, row: dict[str, Any]) -> bool:
    file = folder / row["path"]
    if not file.exists():
        return bool(row["path"] == OPTIMIZER)
    content = file.read_bytes()
    return len(content) == row["size"] and hashlib.sha256(content).hexdigest() == row["sha256"]


def compare(reference: dict[str, str], found: dict[str, str]) -> list[str]:
    """One sentence for each kind of difference; empty if the results are equal."""
    kinds = {
        "missing": sorted(reference.keys() - found.keys()),
        "more": sorted(found.keys() - reference.keys()),
        "different": sorted(path for path in reference.keys() & found.keys() if reference[path] != found[path]),
    }
    return [f"{len(paths)} files {kind}: {', '.join(paths[:6])}" for kind, paths in kinds.items() if paths]


def complete(found: dict[str, str]) -> bool:
    """Whether the last stage is done."""
    return any(path.startswith("evaluate/") and path.endswith("/manifest.json") for path in found)
