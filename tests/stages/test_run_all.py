"""The complete pipeline on real episodes in a real S3: run, skipped, extended by more steps, exported."""

from __future__ import annotations

from pathlib import Path

from documents import document

from groot_ray.experiment.document import Document
from groot_ray.stages import Outcome, run_all
from groot_ray.stages.catalog import describe_experiment
from groot_ray.stages.export import export
from groot_ray.stages.garbage import collect_garbage
from groot_ray.stages.registry import open_work
from groot_ray.storage import open_location
from groot_ray.storage.manifest import commit_manifest, read_files


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def test_the_pipeline_in_s3(s3, one_ray: None, aloha_dataset: Path, tmp_path: Path) -> None:
    def asked(steps: int, **changes: object) -> Document:
        options = {"evaluation__steps": 16, "evaluation__baselines": False, "evaluation__plots": False, **changes}
        return document(aloha_dataset, s3.uri, tmp_path / "cache", training__max_steps=steps, **options)

    first = run_all(asked(2))
    _, convert, finetune, evaluate = first
    assert states(first) == ["done"] * 4
    assert finetune.manifest.inputs == {"convert": convert.folder.name, "model": None}
    assert sorted(finetune.manifest.made["checkpoints"]) == ["1", "2"]
    assert evaluate.manifest.inputs["weights"] == {"2": finetune.manifest.made["checkpoints"]["2"]}
    assert (evaluate.folder / "evaluation_summary.txt").exists() and evaluate.manifest.made["best"] == "step_2"
    files = {file.path for file in read_files(finetune.folder, "done-2.json")}
    assert {"checkpoint-2/config.json", "checkpoint-2/model.safetensors"} <= files
    assert states(run_all(asked(2))) == ["skipped"] * 4

    longer = run_all(asked(3, training__num_workers=0))  # the number of workers changes nothing
    assert states(longer) == ["skipped", "skipped", "done", "done"]
    assert longer[2].folder == finetune.folder, "more steps continue the run"
    assert [entry.relative for entry in (finetune.folder / "phases").list()] == ["1.json", "2.json"]
    assert longer[3].manifest.made["best"] == "step_3"
    assert states(run_all(asked(2))) == ["skipped"] * 4, (
        "the shorter target is still done, and evaluated at its own step"
    )

    fewer = open_work(asked(1)).place("finetune")
    assert fewer.name == f"{finetune.folder.name}.2" and fewer.manifest() is None, "fewer steps are a separate run"
    assert open_work(asked(3, evaluation__thresholds=[0.1])).place("evaluate").key != longer[3].manifest.key
    assert open_work(asked(3, training__seed=1)).place("finetune").key != finetune.manifest.key
    assert open_work(asked(3, training__num_workers=2)).place("evaluate").key == longer[3].manifest.key

    experiment = s3.location / "test"
    assert "done (2, 3 steps)" in describe_experiment(experiment)
    assert collect_garbage(s3.location).startswith("nothing to remove")
    export(experiment, "test", open_location(tmp_path / "dataset"))
    export(experiment, "checkpoint-3", open_location(tmp_path / "checkpoint"))
    assert (tmp_path / "dataset/meta/modality.json").is_file() and (tmp_path / "checkpoint/model.safetensors").is_file()

    anew = longer[2].manifest.model_copy(update={"generation": 2})
    commit_manifest(experiment / "finetune" / anew.folder, anew, "done-3.json")
    (experiment / "evaluate").delete_tree()  # it used the first generation
    assert f"superseded by {anew.folder}" in collect_garbage(s3.location, "test")
    base = f"{finetune.folder.uri}/checkpoint-3"
    assert (
        open_work(asked(2, name="next", model__base=base)).model.content is not None
    )  # pinned, as by a run before its work
    assert collect_garbage(s3.location, "test", delete=True).startswith("nothing to remove")
