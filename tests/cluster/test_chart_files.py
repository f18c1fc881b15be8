"""The files of the chart: generated ones are up to date, and Helm takes it alone, in another chart, and twice."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from rendering import CHART, REPOSITORY, Helm, minimal, of_kind

from groot_ray.cluster.kube.release import short_name
from groot_ray.experiment.cluster.merge import merged
from groot_ray.experiment.document import build_document


def test_the_generated_files_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", CHART.parent / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = [name for name, text in module.files().items() if (CHART / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run python charts/generate.py: {stale}"


def test_the_plain_manifests_are_up_to_date(helm4: Helm) -> None:
    done = helm4.run(
        "template", "demo", str(CHART), "-n", "groot-demo", "--no-hooks", values=[REPOSITORY / "k8s" / "demo.yaml"]
    )
    committed = (REPOSITORY / "k8s" / "demo-manifests.yaml").read_text().split("\n---\n", 1)[1]
    assert committed == done.stdout.split("---\n", 1)[1], "run make chart"


def test_values_are_the_defaults_of_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    document = build_document({**minimal(), "cluster": values["cluster"]})
    assert document.cluster == build_document(minimal()).cluster


def test_the_schema_is_one_for_editors_too(case: dict[str, Any]) -> None:
    """Draft 7, and patterns without what ECMAScript or Go do not know: flags, look-around."""
    text = (CHART / "values.schema.json").read_text()
    schema = json.loads(text)
    jsonschema.Draft7Validator.check_schema(schema)
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator(schema).validate(merged(defaults, case))
    assert "(?" not in text


def test_lint_is_strict(helm: Helm, case: dict[str, Any]) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_random(helm: Helm, case: dict[str, Any]) -> None:
    assert helm.render(case) == helm.render(case)
    for template in (CHART / "templates").rglob("*"):
        if template.is_file():
            text = re.sub(r"(?s)\{\{/\*.*?\*/\}\}", "", template.read_text())
            assert not re.search(r"\b(lookup|rand[A-Z]\w*|uuidv4|now|genCA|genSelfSignedCert|genPrivateKey)\b", text), (
                template
            )


def parent_of_it(folder: Path, more: str = "") -> Path:
    """A chart that has this one in it."""
    (folder / "charts").mkdir()
    (folder / "charts" / "groot-experiment").symlink_to(CHART)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 0.1.0\n{more}")
    return folder


def test_as_a_subchart(helm: Helm, tmp_path: Path) -> None:
    objects = helm.render({"global": {"team": "robots"}, "groot-experiment": minimal()}, chart=parent_of_it(tmp_path))
    assert len(of_kind(objects, "Job")) == 4


def test_two_of_it_in_one_release(helm: Helm, tmp_path: Path) -> None:
    aliases = ["left_arm", "Right"]
    uses = "".join(f"  - {{name: groot-experiment, version: 0.1.0, alias: {alias}}}\n" for alias in aliases)
    objects = helm.render(dict.fromkeys(aliases, minimal()), chart=parent_of_it(tmp_path, f"dependencies:\n{uses}"))
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(of_kind(objects, "Job")) == 8 and len(set(names)) == len(names)
    found = {item["metadata"]["labels"]["groot-ray/release"] for item in objects}
    assert found == {short_name(f"walk-{alias}") for alias in aliases}, "as `cluster status` looks for them"
