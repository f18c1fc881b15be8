"""A real Ray head and worker, started by the command lines that the chart renders."""

from __future__ import annotations

import json
from pathlib import Path

from namespace import TOKEN, run_in_namespace
from rendering import REPOSITORY, Helm, minimal, of_kind, settings

CLIENT = """
import json, sys, time
from groot_ray.cluster.ray.connect import submit_patiently
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.errors import ConfigurationError, ServiceUnavailableError

def answer(call):
    for _ in range(120):
        try:
            return call()
        except ServiceUnavailableError:
            time.sleep(0.5)
    sys.exit("no answer")

jobs = RayJobs("http://HEAD:8265", "TOKEN")
seen = {"version": answer(jobs.ray_version)}
try:
    RayJobs("http://HEAD:8265", "wrong").jobs()
    seen["wrong token"] = "taken"
except ConfigurationError as error:
    seen["wrong token"] = str(error)
program = "\\n".join([
    "import os, ray, time; ray.init()",
    "while len(ray.nodes()) < 2: time.sleep(0.2)",
    "print('ODD', os.environ['ODD'], ray.get(ray.remote(os.getenv).remote('ODD')))",
    "print('RESOURCES', sorted(n['Resources'].get('CPU', 0) for n in ray.nodes()))",
])
submit_patiently(jobs, "one", f"python -c \\"{program}\\"", {"ODD": "a$HOME${B}$$"}, 60)
state = jobs.state("one")
while not state.finished:
    time.sleep(0.5)
    state = jobs.state("one")
seen["state"], seen["log"] = state.status, "".join(jobs.log("one"))
try:
    jobs.submit("one", "true", {})
except Exception as error:
    seen["again"] = f"{type(error).__name__}: {error}"
try:
    jobs.submit("refused", 5, {})
except Exception as error:
    seen["refused"] = f"{type(error).__name__}: {error}"
jobs.submit("code", "exit 65", {})
while not (state := jobs.state("code")).finished:
    time.sleep(0.5)
seen["code"] = state.exit_code
seen["unknown"] = jobs.state("never")
print("SEEN" + json.dumps(seen))
"""


def test_rendered_command_lines_make_a_cluster(helm4: Helm, tmp_path: Path) -> None:
    small = {"cpus": 1, "memory": "1Gi", "object_store_memory": 100 * 2**20}
    values = minimal(ray={"mode": "static", "token_secret": "ray-token", "head": small, "cpu": small})
    objects = helm4.render(values)
    sets = {item["metadata"]["name"]: item for item in of_kind(objects, "StatefulSet")}
    cluster = settings(objects)["convert"]["cluster"]

    def command(group: str) -> str:
        container = sets[f"{cluster}-{group}"]["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["/bin/bash", "-c"]
        assert "/scratch" in container["args"][0], "Ray spills there"
        return container["args"][0].replace("/scratch", str(tmp_path))

    head = f"{cluster}-head"
    (tmp_path / "client.py").write_text(CLIENT.replace("HEAD", head).replace("TOKEN", TOKEN, 1))
    (tmp_path / "head.sh").write_text(command("head"))
    (tmp_path / "cpu.sh").write_text(command("cpu"))
    probe = sets[head]["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    (tmp_path / "probe.sh").write_text(probe[-1])
    script = f"""
bash {tmp_path}/head.sh > head.log 2>&1 &
# On one machine the worker's agents need ports of their own.
bash -c "$(cat {tmp_path}/cpu.sh) --dashboard-agent-listen-port=52466 --metrics-export-port=8081" > cpu.log 2>&1 &
PYTHONPATH={REPOSITORY} python {tmp_path}/client.py || {{ tail -n 5 head.log cpu.log; exit 1; }}
if command -v wget > /dev/null; then bash {tmp_path}/probe.sh > /dev/null && echo PROBED; else echo NO WGET; fi
"""
    out = run_in_namespace(script, tmp_path, (head,))
    seen = json.loads(out.split("SEEN")[1].splitlines()[0])
    assert "token" in seen["wrong token"] and seen["state"] == "SUCCEEDED"
    assert "RESOURCES [0, 1.0]" in seen["log"], "the head runs drivers only"
    assert "ODD a$HOME${B}$$ a$HOME${B}$$" in seen["log"], "of the driver and of a task: dollar signs arrive"
    assert seen["again"].startswith("AlreadySubmittedError"), "an id is used once"
    assert seen["refused"].startswith("ConfigurationError") and "entrypoint" in seen["refused"], (
        "Ray says why, for good"
    )
    assert seen["code"] == 65 and seen["unknown"] is None
    assert "PROBED" in out or "NO WGET" in out
