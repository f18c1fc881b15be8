"""The console script as a process: quick help, one-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from groot_ray.cli.main import COMMANDS

HEAVY = ("torch", "ray", "transformers", "av", "cv2", "pandas", "pyarrow", "numpy", "boto3", "kubernetes", "matplotlib")


def groot_ray(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groot_ray.cli.main", *words], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom groot_ray.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    for command in COMMANDS:
        assert command in done.stdout


def test_each_command_has_help() -> None:
    code = (
        "import sys\nfrom groot_ray.cli.main import COMMANDS, main\n"
        "for command in sorted(COMMANDS):\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: print('code of', command, end.code or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pages = done.stdout.split("code of ")
    for command, page, end in zip(sorted(COMMANDS), pages, pages[1:], strict=False):
        assert end.startswith(f"{command} 0\n") and "Usage" in page, command


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    done = groot_ray("finetun")
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == "groot-ray: there is no command 'finetun' (did you mean 'finetune'?); see groot-ray --help"
    )


def test_a_mistake_in_the_file_is_one_line_and_exit_code_64(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        "experiment:\n  name: x\n  source: {uri: .}\n  embodiment: aloha\n  training: {learning_rat: 1}\n"
    )
    done = groot_ray("run", "e.yaml", cwd=tmp_path)
    assert done.returncode == 64
    assert (
        done.stderr.strip()
        == "groot-ray: e.yaml: unknown key 'experiment.training.learning_rat' (did you mean 'learning_rate'?)"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "e.yaml"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    done = groot_ray("run", "none.yaml", cwd=tmp_path)
    assert done.returncode == 64
    assert "experiment file 'none.yaml' does not exist" in done.stderr


def test_an_experiment_that_is_not_there_is_told_alike_by_show_and_gc(tmp_path: Path) -> None:
    (tmp_path / "out/demo/plan").mkdir(parents=True)
    (tmp_path / "out/demo/plan/source-1.json").write_text("{}")
    for command in (["show", "dmo"], ["gc", "dmo"], ["gc", "dmo", "--delete"]):
        done = groot_ray(*command, "--storage", "out", cwd=tmp_path)
        assert done.returncode == 64 and not done.stdout
        assert done.stderr.strip() == (
            f"groot-ray: there is no experiment 'dmo' in {tmp_path}/out (did you mean 'demo'?); there are demo"
        )
    done = groot_ray("gc", "demo", "--storage", "out", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == f"nothing to remove in {tmp_path}/out/demo\n"


def test_the_guides_conversion_line_asks_for_the_robot(tmp_path: Path) -> None:
    done = groot_ray("convert", "--input-dir", "./d", "--output-dir", "./o", "--target-fps", "20", cwd=tmp_path)
    assert done.returncode == 64 and "give --embodiment with a preset (aloha, aloha_gr1," in done.stderr
    done = groot_ray("convert", "--input-dir", "./d", "--output-dir", "./o", "--embodiment", "aloha", cwd=tmp_path)
    assert done.returncode == 64 and "/d" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is written for a source that is not there"
