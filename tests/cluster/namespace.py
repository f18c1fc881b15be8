"""Runs a real Ray cluster in its own network, process and mount namespace, apart from any other Ray of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = """
set -e
ip link set lo up
mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray
printf '127.0.0.1 localhost {names}\\n' > {hosts}
mount --bind {hosts} /etc/hosts
export HOME={tmp} PATH={bin}:$PATH RAY_AUTH_MODE=token RAY_AUTH_TOKEN={token} RAY_USAGE_STATS_ENABLED=0 no_proxy='*'
cd {tmp}
"""
TOKEN = "a-token-of-the-tests-0123456789abcdef"


def run_in_namespace(script: str, folder: Path, names: tuple[str, ...] = (), timeout: float = 240.0) -> str:
    """Run a bash script where the ports of Ray are free; `names` resolve to this machine. Returns what it printed.

    All its processes end with it. Skips where the kernel allows no namespaces.
    """
    tmp = folder / "t"
    tmp.mkdir(mode=0o1777, exist_ok=True)
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        words[1:1] = ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces of one's own")
    setup = SETUP.format(
        tmp=tmp, hosts=folder / "hosts", names=" ".join(names), bin=Path(sys.executable).parent, token=TOKEN
    )
    done = subprocess.run([*words, "bash", "-c", setup + script], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
