"""Whether nodes have a release's images, or can pull them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groot_ray.cluster.doctor.findings import Finding
from groot_ray.experiment.cluster import ClusterOptions

LISTED_IMAGES = 50  # the most images that a kubelet lists in its node's status by default


def check_images(images: list[str], options: ClusterOptions, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Check that images are on nodes or can be pulled. Whether a pull will succeed cannot be known from here."""
    lists = [node.get("status", {}).get("images", []) for node in nodes]
    # An image has null for names after a newer one took over its name.
    known = {full_name(name) for found in lists for image in found for name in image.get("names") or []}
    complete = bool(lists) and all(len(found) < LISTED_IMAGES for found in lists)
    present = [image for image in images if full_name(image) in known]
    pulled = []
    for image in [image for image in images if image not in present]:
        if not image.startswith("localhost/") and options.image.pull_policy != "Never":
            pulled.append(image)
        elif complete:
            sentence = "is on no node and cannot be pulled"
            advice = "load it (make images-load), or push it and set cluster.image"
            yield Finding("problem", "image", f"{image} {sentence}; {advice}")
        else:
            sentence = "cannot be pulled, and whether nodes have it cannot be seen from here"
            yield Finding("note", "image", f"{image} {sentence}; load it (make images-load)")
    if present:
        yield Finding("ok", "image", f"{', '.join(present)} on nodes")
    if pulled:
        secrets = ", ".join(options.image.pull_secrets)
        how = f"the Secret {secrets}" if secrets else "no Secret (cluster.image.pull_secrets)"
        sentence = f"cannot be checked from here: {', '.join(pulled)}; nodes will pull it with {how}"
        yield Finding("note", "image", sentence)


def full_name(image: str) -> str:
    """The name of an image as nodes list it, with registry and tag."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif first != "localhost" and not {".", ":"} & set(first):
        image = f"docker.io/{image}"
    return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"
