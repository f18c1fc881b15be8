"""Makes a release's ConfigMap the owner of its Jobs, StatefulSets and Services; Kubernetes then removes them with it.

When an upgrade fails partway, Helm forgets the objects of the earlier revision, which have other names, and
`helm uninstall` would leave them. An owner reference needs a uid, which no template knows, so each Job's pod sets it
before it starts its command.

usage: python -m groot_ray.cluster.ownership OWNED.json COMMAND [WORD ...]
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from groot_ray.cluster.kube.access import inside_pod
from groot_ray.cluster.kube.api import ApiError, Kubernetes
from groot_ray.errors import GrootRayError

log = logging.getLogger(__name__)

GROUPS = {"jobs": "/apis/batch/v1", "statefulsets": "/apis/apps/v1", "services": "/api/v1"}


def own(kube: Kubernetes, owned: dict[str, Any]) -> int:
    """Set the owner of a release's objects; returns how many have it now.

    The status subresource accepts metadata but not a spec, so the Role need not allow changes of Jobs or StatefulSets.

    Args:
        kube: the API server.
        owned: `namespace`, `owner` (name of the ConfigMap), and lists of names `jobs`, `statefulsets` and `services`.

    Raises:
        GrootRayError: the API server does not answer, or refuses.
    """
    namespace = owned["namespace"]
    owner = kube.find(f"/api/v1/namespaces/{namespace}/configmaps/{owned['owner']}")
    if owner is None or owner["metadata"].get("deletionTimestamp"):
        return 0
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owned["owner"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": False,
    }
    number = 0
    for kind, group in GROUPS.items():
        for name in owned.get(kind, []):
            path = f"{group}/namespaces/{namespace}/{kind}/{name}/status"
            try:
                kube.patch(path, {"metadata": {"ownerReferences": [reference]}})
                number += 1
            except ApiError as error:
                if error.status != 404:  # a finished Job may already be gone
                    raise
    return number


def main(arguments: list[str]) -> None:
    """Set the owner, then become the given command even if that failed."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    if len(arguments) < 2:
        sys.exit("usage: python -m groot_ray.cluster.ownership OWNED.json COMMAND [WORD ...]")
    try:
        own(inside_pod(), json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    except (GrootRayError, OSError, ValueError, KeyError) as error:
        log.warning(
            "this release's objects have no owner, so helm uninstall may leave some after a failed upgrade: %s", error
        )
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
