"""Storage on a disk or in S3: URIs as plain values, atomic writes, manifests, attempts and their leases.

The only package that imports boto3. Everything above `model` may import it; it imports `errors` and `progress` only.
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
