"""Make the project's virtual environment, with the build of torch that fits the machine.

    python3 scripts/venv.py [--venv .venv] [--extra dev]

uv installs everything from `requirements.lock`. pip fetches uv itself, and uv gets pip's settings: index, certificate,
folders of wheels and constraints. The lock leaves torch out, because its build depends on the machine. torch comes from
the first of these that has it:

1. on a machine with an NVIDIA GPU: the package index (the CUDA build);
2. a folder of wheels (pip's find-links, PIP_FIND_LINKS or UV_FIND_LINKS) with a torch for this Python;
3. the index named by TORCH_INDEX_URL;
4. PyTorch's index of CPU builds, if it answers;
5. the package index, with a notice: its build is for CUDA and several GB in size.

A second run with the same sources does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# pip's setting -> uv's variable
VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
}


def main() -> None:
    """Make or update the environment of the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=REPOSITORY / ".venv")
    parser.add_argument("--extra", action="append", default=[], help="extra of pyproject.toml: dev, docs, wandb")
    options = parser.parse_args()
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        fail(
            f"groot_ray needs Python 3.11 to 3.13; {sys.executable} is {platform.python_version()}. "
            "Name another one: make PYTHON=python3.12"
        )
    stamp = options.venv / ".groot_ray.json"
    wanted = fingerprint(options.extra)
    if stamp.exists() and wanted.items() <= json.loads(stamp.read_text()).items():
        return
    stamp.unlink(missing_ok=True)
    install(options.venv, options.extra)
    stamp.write_text(json.dumps(wanted))


def install(venv: Path, extras: list[str]) -> None:
    """Create the environment where there is none, then install uv, torch and groot_ray into it."""
    python, uv = venv / "bin" / "python", venv / "bin" / "uv"
    if not (python.exists() and (venv / "bin" / "pip").exists()):
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", venv], advice="On Debian and Ubuntu: apt-get install python3-venv")
    run([python, "-m", "pip", "install", "--quiet", "uv"])
    environment = uv_environment(pip_settings(python))
    command: list[object] = [uv, "pip", "install", "--quiet", "--python", python]
    install_torch(command, environment)
    print("installing groot_ray and its dependencies", flush=True)
    package = f"{REPOSITORY}[{','.join(extras)}]" if extras else REPOSITORY
    run([*command, "--constraint", REPOSITORY / "requirements.lock", "--editable", package], environment)


def fingerprint(extras: list[str]) -> dict[str, str]:
    """What the environment is made from, as stored in its stamp."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.lock", "scripts/venv.py"):
        digest.update((REPOSITORY / name).read_bytes())
    installed = {f"extra {name}": "installed" for name in extras}
    return {"python": sys.version, "sources": digest.hexdigest(), "repository": str(REPOSITORY), **installed}


def pip_settings(python: Path) -> dict[str, list[str]]:
    """pip's own settings, from its files and PIP_* variables: each name with its values, without repetitions."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    settings: dict[str, list[str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        values = value.strip("'\"").replace("\\n", " ").split()
        name = name.rsplit(".", 1)[-1]
        settings[name] = list(dict.fromkeys([*settings.get(name, []), *values]))
    return settings


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """This process's environment, with pip's settings for uv where uv has none."""
    usable = {
        "index-url": settings.get("index-url", [])[-1:],
        # pip ignores a missing folder; uv would fail
        "extra-index-url": [url for url in settings.get("extra-index-url", []) if reachable(url)],
        "find-links": [link for link in settings.get("find-links", []) if reachable(link)],
        "constraint": settings.get("constraint", []),
        "cert": settings.get("cert", [])[-1:],
    }
    environment = {VARIABLES[name]: " ".join(values) for name, values in usable.items() if values}
    if "UV_INDEX" in environment:
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip's own strategy
    return {"UV_LINK_MODE": "copy", **environment, **os.environ}


def reachable(link: str) -> bool:
    """Whether a link is remote, or a local folder that exists."""
    path = link.removeprefix("file://")
    return "://" in path or Path(path).is_dir()


def install_torch(command: list[object], environment: dict[str, str]) -> None:
    """Install torch alone from the first source that has a build for this machine."""
    torch = [*command, "--no-deps", "torch>=2.6"]
    # Failing is an answer here, so uv gives up soon.
    quick = {**environment, "UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"}
    *sources, last = torch_sources(environment)
    for name, arguments in sources:
        tried = subprocess.run(words([*torch, "--dry-run", *arguments]), env=quick, capture_output=True, check=False)
        if tried.returncode == 0:
            last = name, arguments
            break
    name, arguments = last
    print(f"installing torch from {name}", flush=True)
    run([*torch, *arguments], environment)


def torch_sources(environment: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Sources of torch, best first, each in words and as arguments of uv; the last is used if no other has a build."""
    if has_gpu():
        return [("the package index (CUDA build, because this machine has a GPU)", [])]
    sources = []
    if environment.get("UV_FIND_LINKS"):
        sources.append((f"the folder of wheels {environment['UV_FIND_LINKS']}", ["--no-index"]))
    if os.environ.get("TORCH_INDEX_URL"):
        return [*sources, (os.environ["TORCH_INDEX_URL"], ["--index", os.environ["TORCH_INDEX_URL"]])]
    return [
        *sources,
        ("PyTorch's index of CPU builds", ["--torch-backend", "cpu"]),
        ("the package index: found no CPU build, this one is for CUDA and several GB in size", []),
    ]


def has_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU with a driver. GROOT_RAY_CPU=1 says no."""
    if os.environ.get("GROOT_RAY_CPU"):
        return False
    tool = shutil.which("nvidia-smi")
    return Path("/proc/driver/nvidia/version").exists() or (
        tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0
    )


def run(command: list[object], environment: dict[str, str] | None = None, advice: str = "") -> None:
    """Run a command. If it fails, print it with the advice and end this program."""
    if subprocess.run(words(command), env=environment, check=False).returncode:
        fail(f"this command failed, see above: {' '.join(words(command))}\n{advice}".strip())


def words(command: list[object]) -> list[str]:
    """The command with all its words as strings."""
    return [str(word) for word in command]


def fail(message: str) -> None:
    """End the program with a message and exit code 1."""
    print(f"venv: {message}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
