"""The images: what the Dockerfile says, and the `data` image built and used where docker or podman works."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rendering import REPOSITORY

import groot_ray
from groot_ray.experiment.cluster import ClusterOptions

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def test_names_and_versions_agree() -> None:
    options = ClusterOptions()
    assert options.image.data == f"localhost/groot-ray:{groot_ray.__version__}-data"
    assert options.image.train == f"localhost/groot-ray:{groot_ray.__version__}-train"
    (locked,) = re.findall(r"^ray==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert options.ray.version == locked, "KubeRay gets the Ray version of the images"
    bake = (REPOSITORY / "images" / "docker-bake.hcl").read_text()
    assert f'default = "{groot_ray.__version__}"' in bake and f"ARG VERSION={groot_ray.__version__}" in DOCKERFILE


def images_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images", REPOSITORY / "k8s" / "images.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_site_has_reaches_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TORCH", "TORCH_INDEX_URL", "WHEELS", "PIP_CONF", "CA_BUNDLE", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    images = images_module()
    assert not {"--secret", "--build-context"} & set(images.build_options())
    (tmp_path / "pip.conf").write_text("[global]\n")
    monkeypatch.setenv("PIP_CONF", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("CA_BUNDLE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("WHEELS", str(tmp_path))
    words = images.build_options()
    assert [words[i + 1] for i, word in enumerate(words) if word == "--secret"] == [
        f"id=pip_conf,src={tmp_path}/pip.conf",
        f"id=ca,src={tmp_path}/pip.conf",
    ]
    assert words[words.index("--build-context") + 1] == f"wheels={tmp_path}"
    monkeypatch.setenv("PIP_CONF", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"PIP_CONF is .*none, which is not a file"):
        images.build_options()


def test_what_the_build_takes_is_in_the_dockerfile_and_in_bake() -> None:
    bake = (REPOSITORY / "images" / "docker-bake.hcl").read_text()
    for argument in re.findall(r"^ARG ([A-Z_]+)", DOCKERFILE, re.MULTILINE):
        assert re.search(rf'^variable "{argument}"', bake, re.MULTILINE) and f"{argument} = {argument}" in bake, (
            argument
        )
    for secret in set(re.findall(r"type=secret,id=(\w+)", DOCKERFILE)):
        assert f"id={secret},src=" in bake, secret
    assert "FROM scratch AS wheels" in DOCKERFILE and "contexts = { wheels = WHEELS }" in bake


def test_torch_has_a_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = images_module()
    pinned = images.torch_version()
    assert (
        f'variable "TORCH" {{ default = "torch=={pinned}" }}' in (REPOSITORY / "images" / "docker-bake.hcl").read_text()
    )
    for name in ("TORCH", "TORCH_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi: a machine without a GPU
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/none {tmp_path}")
    (tmp_path / "torch-1.0.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert images.torch_requirement() is None, "another version is not taken"
    (tmp_path / f"torch-{pinned}+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert images.torch_requirement() == f"torch=={pinned}+cpu"
    monkeypatch.setenv("TORCH", "torch==2.11.0")
    assert images.torch_requirement() == "torch==2.11.0"


def test_requirements_are_locked() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text().lower()
    for name in ("data.txt", "train.txt"):
        for line in (REPOSITORY / "images" / name).read_text().splitlines():
            package = re.sub("[._]", "-", re.split(r"[\[=<>#;]", line)[0].strip().lower())
            assert not package or re.search(rf"^{re.escape(package)}==", lock, re.MULTILINE), (
                f"{package} is not in requirements.lock"
            )
    data = (REPOSITORY / "images" / "data.txt").read_text()
    assert not re.search(r"^(torch|transformers)\b", data, re.MULTILINE)


def test_final_stages_are_small_and_unprivileged() -> None:
    stages = {
        part.split("\n")[0].split(" AS ")[-1]: part for part in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    }
    for name in ("data", "train"):
        assert (
            "USER 1000:1000" in stages[name]
            and "HEALTHCHECK" in stages[name]
            and "org.opencontainers.image.version" in stages[name]
        )
    assert "gcc" not in stages["data"] and "gcc" in stages["train"] and "wget" in stages["base"]


@pytest.fixture(scope="module")
def tool() -> list[str]:
    """docker or podman; builds the images with it."""
    given = os.environ.get("CONTAINER_TOOL")
    beside = REPOSITORY.parent / "shared" / "cluster" / "podman"
    if not given and beside.exists() and os.geteuid() == 0:
        given = str(beside)
    if not given:
        given = next(
            (
                name
                for name in ("docker", "podman")
                if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0
            ),
            None,
        )
    if not given:
        pytest.skip("neither docker nor podman works here")
    subprocess.run(
        [sys.executable, "k8s/images.py", "build"],
        cwd=REPOSITORY,
        check=True,
        env={**os.environ, "CONTAINER_TOOL": given},
        capture_output=True,
    )
    return shlex.split(given)


SEALED = (
    "--rm",
    "--read-only",
    "--tmpfs",
    "/tmp:rw,exec,mode=1777",
    "--security-opt",
    "no-new-privileges",
    "--cap-drop",
    "ALL",
)


def run_inside(
    tool: list[str], image: str, *words: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command in a container as the chart's pods are: no root, no capabilities, nothing written but /tmp."""
    return subprocess.run([*tool, "run", *SEALED, *options, image, *words], capture_output=True, text=True)


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A folder for outputs that the container's user may write to, and the options that mount it with the examples."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    outputs.chmod(0o777)
    return outputs, ("-v", f"{REPOSITORY / 'examples'}:/examples:ro", "-v", f"{outputs}:/outputs", "-e", "HOME=/tmp")


@pytest.mark.slow
def test_the_data_image_converts_the_demo(tool: list[str], mounted: tuple[Path, tuple[str, ...]]) -> None:
    image = ClusterOptions().image.data
    inspected = [*tool, "image", "inspect", image, "--format", "{{.Size}}"]
    size = int(subprocess.run(inspected, capture_output=True, text=True, check=True).stdout)
    assert size < 1.5e9, f"{size / 1e9:.2f} GB unpacked"
    versions = run_inside(tool, image, "python", "-m", "groot_ray.cluster.health")
    assert versions.returncode == 0, versions.stderr
    assert json.loads(versions.stdout)["groot_ray"] == groot_ray.__version__
    looks = "id -u; command -v gcc cc; python -c 'import torch'; touch /opt/x; command -v wget"
    inside = run_inside(tool, image, "bash", "-c", looks)
    assert inside.stdout.split() == ["1000", "/usr/bin/wget"], "no root, no compiler, no torch, nothing written"
    assert "No module named 'torch'" in inside.stderr and "Read-only file system" in inside.stderr
    outputs, options = mounted
    words = [
        "groot-ray",
        "run",
        "/examples/demo.yaml",
        "--storage",
        "/outputs",
        "--stage",
        "download",
        "--stage",
        "convert",
    ]
    done = run_inside(tool, image, *words, options=options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    info = json.loads(next(outputs.glob("demo/convert/*/train/meta/info.json")).read_text())
    assert info["total_episodes"] == 3


@pytest.mark.slow
def test_the_train_image_runs_the_whole_demo(tool: list[str], mounted: tuple[Path, tuple[str, ...]]) -> None:
    outputs, options = mounted
    words = [
        "groot-ray",
        "run",
        "/examples/demo.yaml",
        "--storage",
        "/outputs",
        "--max-steps",
        "40",
        "--save-steps",
        "40",
    ]
    done = run_inside(tool, ClusterOptions().image.train, *words, options=(*options, "--shm-size", "1g"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    metrics = json.loads(next(outputs.glob("demo/evaluate/*/metrics.json")).read_text())
    assert metrics["average"]["real"]["mae"] > 0 and list(
        outputs.glob("demo/finetune/*/checkpoint-40/model.safetensors")
    )
