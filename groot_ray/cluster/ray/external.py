"""An existing Ray cluster: nothing is created or removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.jobs import RayJobs


@dataclass
class ExternalCluster:
    """The Ray cluster at `settings.address`; see `RayCluster`."""

    settings: StageSettings

    def digest(self) -> str | None:
        return self.settings.digest

    def start(self, check: Callable[[], None]) -> None:
        return

    def waits_for(self) -> str | None:
        return None

    def suspended(self) -> bool:
        return False

    def connect(self) -> RayJobs:
        return RayJobs(self.settings.address, os.environ.get("RAY_AUTH_TOKEN"))

    def stop(self) -> None:
        return
