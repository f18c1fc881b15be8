"""The end of a pod that Kubernetes terminates while its attempt continues."""

from __future__ import annotations

from groot_ray.errors import TemporaryFailureError


class PodTerminated(SystemExit):
    """Kubernetes terminates this pod; the stage continues without it.

    The signal handler raises it anywhere. It is not a GrootRayError, which many callers treat as a missing answer.
    """

    sentence = "this pod was terminated; its successor finds the attempt and follows it"

    def __init__(self) -> None:
        super().__init__(TemporaryFailureError.exit_code)
