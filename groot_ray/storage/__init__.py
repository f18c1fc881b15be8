"""Where everything is kept: URIs as plain values, whole-or-nothing writes, manifests, attempts and their leases, on a disk or in S3.

The only folder that knows boto3; it may be imported by every folder but `model`, and imports of ours only `errors` and `progress`.
"""

from __future__ import annotations

from groot_ray.storage.check import check_storage
from groot_ray.storage.location import Entry, Location, NotFoundError, Stat, open_location
from groot_ray.storage.tree import copy_tree, download_tree, mirror, upload_tree

__all__ = [
    "Entry",
    "Location",
    "NotFoundError",
    "Stat",
    "check_storage",
    "copy_tree",
    "download_tree",
    "mirror",
    "open_location",
    "upload_tree",
]
