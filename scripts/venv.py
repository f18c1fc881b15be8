"""Make the project's virtual environment, with the build of torch that fits the machine.

    python3 scripts/venv.py [--venv .venv] [--extra dev] [--extra sim]

Everything is installed from `requirements.lock`, with uv (fetched into the environment by pip) and with pip's own settings: index,
certificate and folders of wheels. The lock holds no torch, since its build depends on the machine. It comes from the first of these that has it:

1. on a machine with an NVIDIA GPU: the package index (the CUDA build);
2. a configured folder of wheels (pip's find-links, PIP_FIND_LINKS or UV_FIND_LINKS) that holds a torch for this Python;
3. the index that TORCH_INDEX_URL names;
4. PyTorch's index of CPU builds, if it answers;
5. the package index, whose build is for CUDA and several GB in size: with a notice.

A second run finds the stamp of the first and does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PYTHONS = ((3, 11), (3, 13))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=REPOSITORY / ".venv")
    parser.add_argument("--extra", action="append", default=[], help="extra of pyproject.toml (dev, sim, wandb, mcp)")
    options = parser.parse_args()
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        fail(
            f"groot_ray needs Python 3.11 to 3.13, and {sys.executable} is {sys.version.split()[0]}; name another: make PYTHON=python3.12"
        )
    stamp = options.venv / ".groot_ray.json"
    wanted = fingerprint(options.extra)
    if stamp.exists() and wanted.items() <= json.loads(stamp.read_text()).items():
        return
    stamp.unlink(missing_ok=True)
    make_venv(options.venv)
    python = options.venv / "bin" / "python"
    settings = pip_settings(python)
    environment = uv_environment(settings)
    run([python, "-m", "pip", "install", "--quiet", "uv"])
    uv = [options.venv / "bin" / "uv", "pip", "install", "--quiet", "--python", python]
    torch = torch_arguments(settings)
    print(f"installing torch from {torch.pop(0)}", flush=True)
    run([*uv, *torch], environment)
    print("installing groot_ray and what it needs", flush=True)
    lock = REPOSITORY / "requirements.lock"
    extras = f"[{','.join(options.extra)}]" if options.extra else ""
    run([*uv, "--constraint", lock, "--editable", f"{REPOSITORY}{extras}"], environment)
    stamp.write_text(json.dumps(wanted))


def fingerprint(extras: list[str]) -> dict[str, str]:
    """What the environment was made from."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.lock", "scripts/venv.py"):
        digest.update((REPOSITORY / name).read_bytes())
    return {
        "python": sys.version,
        "sources": digest.hexdigest(),
        "repository": str(REPOSITORY),
        **{f"extra {name}": "installed" for name in extras},
    }


def make_venv(venv: Path) -> None:
    if (venv / "bin" / "python").exists() and (venv / "bin" / "pip").exists():
        return
    shutil.rmtree(venv, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True, check=False)
    if made.returncode:
        fail(
            f"{sys.executable} cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv\n"
            f"{(made.stderr or made.stdout).strip()}"
        )


def pip_settings(python: Path) -> dict[str, list[str]]:
    """pip's own settings (files and environment): index-url, extra-index-url, find-links, cert."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    settings: dict[str, list[str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        name = name.rsplit(".", 1)[-1]
        value = value.strip("'\"").replace("\\n", " ")
        settings[name] = [*settings.get(name, []), *value.split()]
    return settings


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """uv's environment with pip's settings, where uv has none of its own."""
    environment = dict(os.environ)
    environment.setdefault("UV_LINK_MODE", "copy")
    if settings.get("index-url"):
        environment.setdefault("UV_DEFAULT_INDEX", settings["index-url"][-1])
    extra = [url for url in settings.get("extra-index-url", []) if url.startswith("http")]
    if extra:
        environment.setdefault("UV_INDEX", " ".join(dict.fromkeys(extra)))
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    # pip passes over a folder that is not there, uv would end.
    links = [place for place in settings.get("find-links", []) if "://" in place or Path(place).is_dir()]
    if links:
        environment.setdefault("UV_FIND_LINKS", " ".join(dict.fromkeys(links)))
    if settings.get("cert"):
        environment.setdefault("SSL_CERT_FILE", settings["cert"][-1])
    return environment


def torch_arguments(settings: dict[str, list[str]]) -> list[str]:
    """Where torch comes from, in words, followed by the arguments of `uv pip install`."""
    if has_gpu():
        return ["the package index (CUDA build: this machine has a GPU)", "torch>=2.6"]
    wheel = torch_wheel([*settings.get("find-links", []), *os.environ.get("UV_FIND_LINKS", "").split()])
    if wheel is not None:
        return [f"the folder of wheels {wheel.parent}", str(wheel)]
    if os.environ.get("TORCH_INDEX_URL"):
        return [os.environ["TORCH_INDEX_URL"], "torch>=2.6", "--index", os.environ["TORCH_INDEX_URL"]]
    if answers(TORCH_CPU_INDEX + "/torch/"):
        return [f"{TORCH_CPU_INDEX} (CPU build)", "torch>=2.6", "--index", TORCH_CPU_INDEX]
    print(
        "notice: no CPU build of torch is at hand; the package index's build for CUDA follows, several GB in size",
        flush=True,
    )
    return ["the package index", "torch>=2.6"]


def torch_wheel(folders: list[str]) -> Path | None:
    """The newest torch wheel for this Python and processor in local folders of wheels."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-"
    machine = os.uname().machine
    folders = [folder.removeprefix("file://") for folder in folders]
    wheels = [
        wheel
        for folder in dict.fromkeys(folders)
        if "://" not in folder and Path(folder).is_dir()
        for wheel in Path(folder).glob("torch-*.whl")
        if f"-{tag}" in wheel.name and machine in wheel.name
    ]

    def version(wheel: Path) -> tuple[bool, list[int]]:
        name = wheel.name.split("-")[1]
        return "+cpu" in name, [int(part) for part in name.split("+")[0].split(".") if part.isdigit()]

    return max(wheels, key=version, default=None)


def has_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU with a driver."""
    if os.environ.get("GROOT_RAY_CPU"):
        return False
    if Path("/proc/driver/nvidia/version").exists():
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5) as reply:
            return 200 <= reply.status < 400
    except (urllib.error.URLError, OSError, ValueError):
        return False


def run(command: list[object], environment: dict[str, str] | None = None) -> None:
    words = [str(word) for word in command]
    if subprocess.run(words, env=environment, check=False).returncode:
        fail(f"this command failed, see above: {' '.join(words)}")


def fail(sentence: str) -> None:
    print(f"venv: {sentence}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
