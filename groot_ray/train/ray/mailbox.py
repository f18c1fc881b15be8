"""What training workers tell the launcher. A module of its own, since its actor's process imports what is in it, and nothing of torch's."""

from __future__ import annotations

from collections import deque
from typing import Any

from groot_ray.errors import GrootRayError, TemporaryFailureError


class MailboxLostError(GrootRayError):
    """The mailbox's process is gone, and with it what the workers had told; they may still be at work, so the run has to end first."""

    exit_code = TemporaryFailureError.exit_code


class Mailbox:
    """Holds what workers tell until the launcher takes it; an actor, or an object between two threads."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque()

    def put(self, event: dict[str, Any], wait: bool = False) -> None:
        """Put an event in; it is there when this returns."""
        self._events.append(event)

    def take(self) -> list[dict[str, Any]]:
        """What has come since the last time."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def close(self) -> None:
        """Nothing to do."""


class RemoteMailbox:
    """A mailbox in an actor of its own, for workers in other processes; on this process's node, so that no lost worker takes it along."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()

    def put(self, event: dict[str, Any], wait: bool = False) -> None:
        """Send an event; with `wait` it has arrived when this returns."""
        import ray

        sent = self._actor.put.remote(event)
        if wait:
            ray.get(sent)

    def take(self) -> list[dict[str, Any]]:
        """What has come since the last time.

        Raises:
            MailboxLostError: the actor is gone.
        """
        import ray

        try:
            return ray.get(self._actor.take.remote())
        except ray.exceptions.RayActorError as error:
            raise MailboxLostError(
                f"the process that collects what training workers tell was lost ({str(error).splitlines()[0]}); run it again to go on"
            ) from None

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)
