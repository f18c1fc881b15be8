"""The owner of a release's objects, and the command that follows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from groot_ray.cluster.kube.api import ApiError, Kubernetes
from groot_ray.cluster.ownership import own

OWNED = {"namespace": "robots", "owner": "walk", "jobs": ["walk-a", "walk-gone"], "statefulsets": ["walk-r1-head"]}


class Server:
    """Answers like the API server and keeps the requests."""

    def __init__(self, owner: int = 200, deleted: bool = False, refused: int = 0) -> None:
        self.owner, self.deleted, self.refused = owner, deleted, refused
        self.patches: dict[str, dict] = {}

    def __call__(self, method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        if method == "GET":
            metadata = {"uid": "u-1", **({"deletionTimestamp": "now"} if self.deleted else {})}
            return self.owner, json.dumps({"metadata": metadata}).encode()
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        if "gone" in path:
            return 404, b'{"message": "not found"}'
        if self.refused:
            return self.refused, b'{"message": "no"}'
        self.patches[path] = json.loads(data or b"")
        return 200, b"{}"


def test_the_configmap_owns_what_is_there() -> None:
    server = Server()
    assert own(Kubernetes(server, "robots"), OWNED) == 2
    assert set(server.patches) == {
        "/apis/batch/v1/namespaces/robots/jobs/walk-a/status",
        "/apis/apps/v1/namespaces/robots/statefulsets/walk-r1-head/status",
    }
    for patch in server.patches.values():
        assert set(patch) == {"metadata"} and set(patch["metadata"]) == {"ownerReferences"}, "nothing else is changed"
        (reference,) = patch["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["name"], reference["uid"]) == ("ConfigMap", "walk", "u-1")


@pytest.mark.parametrize("server", [Server(owner=404), Server(deleted=True)])
def test_a_release_that_is_being_removed_gets_no_owner(server: Server) -> None:
    assert own(Kubernetes(server, "robots"), OWNED) == 0 and not server.patches


def test_a_refusal_is_raised() -> None:
    with pytest.raises(ApiError, match="no"):
        own(Kubernetes(Server(refused=422), "robots"), OWNED)


def test_the_command_runs_even_without_an_owner(tmp_path: Path) -> None:
    (tmp_path / "owned.json").write_text(json.dumps(OWNED))
    words = [sys.executable, "-m", "groot_ray.cluster.ownership", str(tmp_path / "owned.json")]
    done = subprocess.run(
        [*words, "sh", "-c", "echo ran; exit 65"], capture_output=True, text=True, env={"PATH": "/bin:/usr/bin"}
    )
    assert (done.returncode, done.stdout) == (65, "ran\n") and "not in a pod" in done.stderr
