"""`groot-ray doctor`: finds what will go wrong before any resource is requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from groot_ray.cluster.doctor.checkpoint import check_checkpoint
from groot_ray.cluster.doctor.dataset import check_dataset
from groot_ray.cluster.doctor.findings import Finding, guarded
from groot_ray.cluster.doctor.kubernetes import check_cluster
from groot_ray.cluster.doctor.visible import hidden_from_pods
from groot_ray.cluster.kube.access import from_kubeconfig
from groot_ray.cluster.ray.document import check_workers
from groot_ray.embodiment import load_embodiment
from groot_ray.experiment.agreement import check_agreement, stages_to_run
from groot_ray.experiment.document import Document
from groot_ray.experiment.memory import check_document_memory
from groot_ray.stages.place import experiment_location
from groot_ray.storage.check import probe_storage


def check(
    document: Document, context: str | None = None, namespace: str | None = None, cluster: bool = False
) -> list[Finding]:
    """Check an experiment: embodiment, storage, dataset, checkpoint.

    If it is for a cluster (a `cluster:` section, `cluster` or a `context`), also whether pods can run it.

    Args:
        context: also check the Kubernetes cluster of this kubeconfig context.
        namespace: namespace of the release; default the context's.
        cluster: also check the Kubernetes cluster of the current context.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("embodiment", lambda: check_embodiment(document)),
        ("storage", lambda: check_rights(document)),
        ("dataset", lambda: check_dataset(document)),
        ("checkpoint", lambda: check_checkpoint(document)),
        ("memory", lambda: check_host_memory(document)),
    ]
    if document.cluster is not None or cluster or context is not None:
        checks.append(("training", lambda: check_training(document)))
        checks.append(("pods", lambda: check_pods(document)))
    if cluster or context is not None:
        checks.append(("cluster", lambda: check_cluster(document, from_kubeconfig(context, namespace))))
    return [finding for subject, run in checks for finding in guarded(subject, run)]


def check_embodiment(document: Document) -> Iterator[Finding]:
    """Check that the robot's description can be read and used."""
    robot = load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag)
    dims = f"state {robot.state_dim}, action {robot.action_dim} dims"
    yield Finding("ok", "embodiment", f"{robot.name} ({robot.tag}): {dims}, {len(robot.cameras)} cameras")
    for doubt in check_agreement(document.experiment, robot, stages_to_run(document)):
        yield Finding("warning", "evaluation", doubt)


def check_training(document: Document) -> Iterator[Finding]:
    """Check that training can run in pods."""
    check_workers(document)
    least, most = document.experiment.training.workers
    yield Finding("ok", "training", f"{least}{f' to {most}' if most > least else ''} processes in pods")


def check_host_memory(document: Document) -> Iterator[Finding]:
    """Check that batches and fresh weights fit into the memory of the pods, or of this machine."""
    robot = load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag)
    check_document_memory(document, len(robot.cameras))
    yield Finding("ok", "memory", "batches and fresh weights fit")


def check_pods(document: Document) -> Iterator[Finding]:
    """Check that pods can see what the document names."""
    hidden = list(hidden_from_pods(document))
    for sentence in hidden:
        yield Finding("problem", "pods", sentence)
    if not hidden:
        yield Finding("ok", "pods", "they need no folder, file or localhost of this machine")


def check_rights(document: Document) -> Iterator[Finding]:
    """Try everything that stages need of storage."""
    root = experiment_location(document.experiment)
    done = []
    for right in probe_storage(root):
        if right.problem is not None:
            yield Finding("problem", "storage", str(right.problem))
            return
        done.append(right.name)
    yield Finding("ok", "storage", f"{root}: {', '.join(done)}")
