"""Rendering the chart with a real helm, and reading what came out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "groot-experiment"


def minimal(**cluster: Any) -> dict[str, Any]:
    """The smallest document that the chart takes, with `cluster` options."""
    return {
        "experiment": {
            "name": "walk",
            "storage": {"uri": "s3://bucket/experiments"},
            "source": {"uri": "s3://bucket/recordings"},
            "embodiment": "aloha_gr1",
            "splits": {"test": 1},
        },
        "cluster": cluster,
    }


def put(values: dict[str, Any], place: str, value: Any) -> None:
    """Set the value at a dotted path, creating missing mappings on the way."""
    *parents, last = place.split(".")
    for part in parents:
        values = values.setdefault(part, {})
    values[last] = value


@dataclass(frozen=True)
class Helm:
    """One helm binary."""

    binary: Path

    def run(
        self, *words: str, values: dict[str, Any] | list[Path] | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run helm; `values` is given as JSON on standard input, or as files."""
        arguments = [str(self.binary), *words]
        if isinstance(values, dict):
            arguments += ["-f", "-"]
            stdin = json.dumps(values)
        else:
            for path in values or []:
                arguments += ["-f", str(path)]
        return subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=60)

    def render(
        self,
        values: dict[str, Any] | list[Path],
        release: str = "walk",
        namespace: str = "robots",
        *words: str,
        chart: Path = CHART,
    ) -> list[dict[str, Any]]:
        """Objects that `helm template` makes."""
        done = self.run("template", release, str(chart), "-n", namespace, *words, values=values)
        assert done.returncode == 0, done.stderr
        return [item for item in yaml.load_all(done.stdout, yaml.CSafeLoader) if item]

    def refusal(self, values: dict[str, Any], release: str = "walk") -> str:
        """The sentence with which the chart refuses values."""
        done = self.run("template", release, str(CHART), values=values)
        assert done.returncode != 0, "the values were taken"
        return done.stderr


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def settings(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings of each stage's Job, by stage."""
    data = next(item["data"] for item in of_kind(objects, "ConfigMap") if "document.json" in item["data"])
    return {name[6:-5]: json.loads(text) for name, text in data.items() if name.startswith("stage-")}


def pod_templates(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(where, {metadata, spec}) of every pod that the release may make, those inside RayClusters included."""
    found = []
    for item in objects:
        where = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            found.append((where, item))
        elif item["kind"] in ("Job", "StatefulSet", "Deployment"):
            found.append((where, item["spec"]["template"]))
    for stage, stage_settings in settings(objects).items():
        if "manifest" in stage_settings:
            found += ray_pods(stage, stage_settings["manifest"])
    return found


def ray_pods(stage: str, cluster: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Pod templates of a RayCluster."""
    groups = [("head", cluster["spec"]["headGroupSpec"])]
    groups += [(group["groupName"], group) for group in cluster["spec"]["workerGroupSpecs"]]
    return [(f"RayCluster {stage}/{name}", group["template"]) for name, group in groups]
