"""`groot-ray experiment check` looks at what the document runs, and at nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from groot_ray.cli.main import main

DOCUMENT = "experiment: {name: x, source: {uri: s3://b/r}, embodiment: aloha}\n"


def test_only_stages_that_are_run_have_to_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(DOCUMENT)
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "check", str(file)])
    assert ended.value.code == 64 and "splits.test keeps no episode back" in capsys.readouterr().err
    file.write_text(DOCUMENT + "cluster: {stages: {evaluate: {enabled: false}}}\n")
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "check", str(file)])
    assert not ended.value.code
