"""The scripts behind `make venv`, `make lint` and the release workflow."""

from __future__ import annotations

import os
import runpy
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import groot_ray

REPOSITORY = Path(__file__).resolve().parents[2]


def script(name: str) -> dict[str, Any]:
    """The names that a script defines."""
    return runpy.run_path(str(REPOSITORY / "scripts" / f"{name}.py"))


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No settings of pip or uv beside those of the test."""
    for name in (
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_CERT",
        "PIP_CONSTRAINT",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_FIND_LINKS",
        "UV_CONSTRAINT",
        "UV_INDEX_STRATEGY",
        "SSL_CERT_FILE",
        "TORCH_INDEX_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROOT_RAY_CPU", "1")
    return monkeypatch


def test_uv_gets_the_settings_of_pip(bare_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = http://a.test/simple\n"
        "extra-index-url = file:///nowhere\n  http://b.test/simple\n"
        f"find-links = {tmp_path}\n  /missing/folder\ncert = /ca.pem\n"
    )
    bare_environment.setenv("PIP_CONFIG_FILE", str(configuration))
    venv = script("venv")
    environment = venv["uv_environment"](venv["pip_settings"](Path(sys.executable)))
    assert environment["UV_DEFAULT_INDEX"] == "http://a.test/simple"
    assert environment["UV_INDEX"] == "http://b.test/simple"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environment["UV_FIND_LINKS"] == str(tmp_path)
    assert environment["SSL_CERT_FILE"] == "/ca.pem"


def test_settings_of_uv_win_over_those_of_pip(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("UV_DEFAULT_INDEX", "http://uv.test/simple")
    environment = script("venv")["uv_environment"]({"index-url": ["http://pip.test/simple"]})
    assert environment["UV_DEFAULT_INDEX"] == "http://uv.test/simple"


def test_sources_of_torch_without_a_gpu(bare_environment: pytest.MonkeyPatch) -> None:
    sources = script("venv")["torch_sources"]
    assert [arguments for _, arguments in sources({})] == [["--torch-backend", "cpu"], []]
    assert [arguments for _, arguments in sources({"UV_FIND_LINKS": "/wheels"})] == [
        ["--no-index"],
        ["--torch-backend", "cpu"],
        [],
    ]
    bare_environment.setenv("TORCH_INDEX_URL", "http://torch.test/cpu")
    assert [arguments for _, arguments in sources({"UV_FIND_LINKS": "/wheels"})] == [
        ["--no-index"],
        ["--index", "http://torch.test/cpu"],
    ]


@pytest.mark.parametrize("in_folder", [True, False])
def test_torch_comes_from_the_first_source_that_has_a_build(
    in_folder: bool, bare_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """uv itself, a folder of wheels with or without torch, and an index on this disk with a newer one."""
    wheels, index, target = tmp_path / "wheels", tmp_path / "index", tmp_path / "target"
    write_wheel(wheels, "torch" if in_folder else "other", "3.0")
    newer = write_wheel(index / "torch", "torch", "4.0")
    (index / "torch" / "index.html").write_text(f'<a href="{newer.name}">{newer.name}</a>')
    bare_environment.setenv("TORCH_INDEX_URL", index.as_uri())
    uv = [
        Path(sys.executable).parent / "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        target,
    ]
    script("venv")["install_torch"](uv, {**os.environ, "UV_FIND_LINKS": str(wheels), "UV_NO_CACHE": "1"})
    installed = [path.name for path in target.glob("torch-*.dist-info")]
    assert installed == ["torch-3.0.dist-info" if in_folder else "torch-4.0.dist-info"]


def write_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel without content."""
    folder.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in files.items():
            wheel.writestr(member, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in (*files, f"{info}/RECORD")))
    return path


@pytest.mark.parametrize(
    ("line", "mistakes"),
    [
        ("- uses: actions/checkout@v4.2.2", 0),
        ("- uses: actions/checkout@" + "0a" * 20, 0),
        ("- uses: ./.github/actions/here", 0),
        ("- uses: actions/checkout@v4", 1),
        ("  uses: actions/checkout@main", 1),
        ("- uses: actions/checkout", 1),
    ],
)
def test_actions_name_a_full_version(line: str, mistakes: int) -> None:
    assert len(script("check_github")["unpinned"](f"steps:\n      {line}\n")) == mistakes


def test_release_notes_are_one_section() -> None:
    notes = script("release")["notes"]
    changelog = "# Changelog\n\n## [1.1.0] - 2026-01-01\n\n- new\n\n## [1.0.0] - 2025-01-01\n\n- old\n"
    assert notes("1.1.0", changelog) == "- new"
    assert notes("1.0.0", changelog) == "- old"
    assert notes("1.0", changelog) == ""


def test_a_tag_with_another_version_is_rejected() -> None:
    mistakes = script("release")["disagreements"]("9.9.9", REPOSITORY)
    assert len(mistakes) == 4
    assert all("9.9.9" in mistake for mistake in mistakes)


def test_package_and_chart_have_one_version() -> None:
    mistakes = script("release")["disagreements"](groot_ray.__version__, REPOSITORY)
    assert [mistake for mistake in mistakes if "CHANGELOG" not in mistake] == []
