"""The mailbox runs on the launcher's node, whatever happens to the workers' nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from groot_ray.train.ray.mailbox import MailboxLostError, RemoteMailbox


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A Ray cluster with a head without CPUs, where this process runs, and a worker node."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    worker = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield lambda: cluster.remove_node(worker, allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_a_mailbox_outlives_the_workers_node_and_its_own_loss_is_reported(two_nodes: Any) -> None:
    import ray

    mailboxes = [RemoteMailbox() for _ in range(4)]
    for mailbox in mailboxes:
        mailbox.put({"kind": "up"}, wait=True)
    two_nodes()
    assert [mailbox.take() for mailbox in mailboxes] == [[{"kind": "up"}]] * 4
    ray.kill(mailboxes[0]._actor)
    with pytest.raises(MailboxLostError, match="run the command again to resume"):
        mailboxes[0].take()
