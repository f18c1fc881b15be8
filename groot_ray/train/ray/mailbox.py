"""Carries events from the training workers to the launcher.

The mailbox's actor imports this module, so it must not import torch.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from groot_ray.errors import GrootRayError, TemporaryFailureError


class MailboxLostError(GrootRayError):
    """The mailbox's process and its events were lost. Workers may still be running, so this run has to end first."""

    exit_code = TemporaryFailureError.exit_code


class Mailbox:
    """Holds the workers' events until the launcher takes them; an actor, or an object shared by two threads."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque()

    def put(self, event: dict[str, Any], wait: bool = False) -> None:
        """Add an event."""
        self._events.append(event)

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def close(self) -> None:
        """Nothing to do."""


class RemoteMailbox:
    """A mailbox in an actor, for workers in other processes.

    The actor runs on this process's node, so that it survives the loss of other nodes.
    """

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": here}
        self._actor: Any = ray.remote(**options)(Mailbox).remote()

    def put(self, event: dict[str, Any], wait: bool = False) -> None:
        """Send an event; with `wait`, it has arrived when this returns."""
        import ray

        sent = self._actor.put.remote(event)
        if wait:
            ray.get(sent)

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call.

        Raises:
            MailboxLostError: the actor has died.
        """
        import ray

        try:
            events: list[dict[str, Any]] = ray.get(self._actor.take.remote())
            return events
        except ray.exceptions.RayActorError as error:
            raise MailboxLostError(
                f"the process that collects the training workers' events was lost ({str(error).splitlines()[0]}); "
                "run the command again to resume"
            ) from None

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)
