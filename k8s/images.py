"""Build the images with docker or podman, save them as archives, and put them on a cluster's nodes.

usage: python k8s/images.py build [data|train ...]    build and tag localhost/groot-ray:VERSION-TARGET
       python k8s/images.py save FOLDER               docker archives of both
       python k8s/images.py load                      save, then run $IMAGE_LOAD on the archives

Environment:
    CONTAINER_TOOL     docker or podman; the first that works by default
    BASE_IMAGE, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, TORCH_INDEX_URL, TORCH (such as torch==2.11.0)
                       build arguments of the Dockerfile
    WHEELS             a folder of wheels
    PIP_CONF           a pip.conf with credentials, passed to the build as a secret
    CA_BUNDLE          a CA bundle, passed to the build as a secret
    IMAGE_REPOSITORY   localhost/groot-ray by default
    IMAGE_LOAD         "kind load image-archive --name groot-ray", "minikube image load"

Without TORCH and on a machine without GPU, a CPU build of the Dockerfile's torch is used if PIP_FIND_LINKS has one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("data", "train")
REPOSITORY = os.environ.get("IMAGE_REPOSITORY", "localhost/groot-ray")


def version() -> str:
    """The package's version, without importing it."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "groot_ray" / "__init__.py").read_text())
    assert found is not None
    return found[1]


def tag(target: str) -> str:
    """Name of an image."""
    return f"{REPOSITORY}:{version()}-{target}"


def container_tool() -> list[str]:
    """The command in CONTAINER_TOOL, or docker or podman, the first that works."""
    given = os.environ.get("CONTAINER_TOOL")
    if given:
        return shlex.split(given)
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return [name]
    sys.exit("images: neither docker nor podman works on this machine; set CONTAINER_TOOL to one that does")


def torch_requirement() -> str | None:
    """The torch of the train image; None is the Dockerfile's version from the package index (the CUDA build)."""
    if os.environ.get("TORCH"):
        return os.environ["TORCH"]
    if os.environ.get("TORCH_INDEX_URL") or shutil.which("nvidia-smi"):
        return None
    pinned = torch_version()
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        if any(Path(folder.removeprefix("file://")).glob(f"torch-{pinned}+cpu-*.whl")):
            return f"torch=={pinned}+cpu"
    return None


def torch_version() -> str:
    """The version of torch in the Dockerfile."""
    found = re.search(r"^ARG TORCH=torch==(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def build_options() -> list[str]:
    """Options of `docker build` and `podman build` from the environment.

    Secrets are files that only the build's own commands see; no image contains them.
    """
    arguments = {"VERSION": version(), "REVISION": _revision()}
    for name in ("BASE_IMAGE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "TORCH_INDEX_URL"):
        if os.environ.get(name):
            arguments[name] = os.environ[name]
    torch = torch_requirement()
    if torch:
        arguments["TORCH"] = torch
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    wheels = os.environ.get("WHEELS")
    if wheels:
        if not Path(wheels).is_dir():
            sys.exit(f"images: WHEELS is {wheels}, which is not a folder")
        words += ["--build-context", f"wheels={Path(wheels).resolve()}"]
    for secret, name in (("pip_conf", "PIP_CONF"), ("ca", "CA_BUNDLE")):
        given = os.environ.get(name)
        if given:
            if not Path(given).is_file():
                sys.exit(f"images: {name} is {given}, which is not a file")
            words += ["--secret", f"id={secret},src={Path(given).resolve()}"]
    return words


def build(targets: list[str]) -> None:
    """Build and tag `targets`."""
    options = build_options()
    for target in targets:
        words = [*container_tool(), "build", "--target", target, "-t", tag(target), *options]
        print(f"building {tag(target)}", flush=True)
        subprocess.run([*words, "."], cwd=ROOT, check=True, env={**os.environ, "DOCKER_BUILDKIT": "1"})


def _revision() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def save(folder: Path) -> list[Path]:
    """Write docker archives of the images, replacing those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    archives = []
    for target in TARGETS:
        archive = folder / f"groot-ray-{target}.tar"
        archive.unlink(missing_ok=True)
        subprocess.run(
            [*container_tool(), "save", "-o", str(archive), tag(target)], check=True, stdout=subprocess.DEVNULL
        )
        archives.append(archive)
    return archives


def load() -> None:
    """Put both images on the nodes of the current cluster."""
    command = os.environ.get("IMAGE_LOAD")
    if not command:
        sys.exit(
            "images: set IMAGE_LOAD to the command that puts an archive on the nodes, "
            'such as "kind load image-archive --name groot-ray"'
        )
    with tempfile.TemporaryDirectory(prefix="groot-ray-images-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        for archive in save(Path(folder)):
            print(f"loading {archive.name}", flush=True)
            subprocess.run([*shlex.split(command), str(archive)], check=True)
            archive.unlink()


def main(words: list[str]) -> None:
    """Run one command."""
    command = words[0] if words else ""
    if command == "build":
        build(words[1:] or list(TARGETS))
    elif command == "save" and len(words) == 2:
        save(Path(words[1]))
    elif command == "load":
        load()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"images: {' '.join(map(str, error.cmd[:4]))} ... failed with exit code {error.returncode}")
