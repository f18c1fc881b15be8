"""One policy over the chosen trajectories of a dataset: a unit of work that can be sent to another node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import GrootRayError
from groot_ray.evaluate.baselines import HOLD, hold_pose
from groot_ray.evaluate.layout import ActionLayout
from groot_ray.evaluate.plots import plot_actions, plot_cameras, snapshot_frames
from groot_ray.evaluate.predict import check_fits, choose_episodes, layout_of, predict_trajectory, recorded_states
from groot_ray.evaluate.rating import Trajectory, rate
from groot_ray.evaluate.record import Before, untrained_network
from groot_ray.machine_memory import out_of_memory
from groot_ray.storage import Location
from groot_ray.storage.inventory import expected_files
from groot_ray.storage.tree import mirror

if TYPE_CHECKING:
    from groot_ray.dataset.groot.dataset import GrootDataset
    from groot_ray.experiment.schema import EvaluationOptions


@dataclass(frozen=True)
class Run:
    """One checkpoint to evaluate on one dataset.

    `checkpoint` gives the processing and the weights; an `untrained` run takes weights from `before`. `tokenizer` is
    the fallback for checkpoints without one. Plots are written below `plots`, if given. `checked`: this
    machine has compared the checkpoint's files with its manifest.
    """

    checkpoint: Location
    dataset: Location
    options: EvaluationOptions
    tag: str | None
    cache: str
    device: str | None = None
    plots: Location | None = None
    untrained: bool = False
    before: Before | None = None
    tokenizer: str | None = None
    checked: bool = False


@out_of_memory("lower evaluation.batch_size")
def run_policy(run: Run, after_each: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Load the policy, predict and rate; `after_each` is called after each trajectory.

    Returns:
        The ratings of `rate`, ``tag``, ``fps``, ``denoising_steps``, ``described`` (whether the robot's own
        dimensions are known) and, under ``hold``, the ratings of holding the current pose; only ``unavailable`` with a
        sentence if the weights of an untrained run do not exist.

    Raises:
        ConfigurationError: an option does not fit the checkpoint or the dataset.
        DataError: checkpoint and dataset do not fit each other, or one is broken.
    """
    from groot_ray.dataset.groot.dataset import GrootDataset
    from groot_ray.policy.load import load_policy, recorded_embodiment

    cache = Path(run.cache).expanduser()
    dataset = GrootDataset(mirror(run.dataset, cache, expected=expected_files(run.dataset)))
    positions = choose_episodes(dataset, run.options.traj_ids)
    try:
        network = untrained_network(run.before, cache, run.checkpoint.endpoint, run.device) if run.untrained else None
    except GrootRayError as error:
        return {"unavailable": str(error)}
    policy = load_policy(
        run.checkpoint,
        run.tag,
        run.device,
        cache=cache,
        denoising_steps=run.options.denoising_steps,
        tokenizer=run.tokenizer,
        network=network,
        checked=run.checked,
    )
    check_fits(dataset, policy.modality, policy.tag, run.options.action_horizon)
    robot = dataset.embodiment or recorded_embodiment(policy.checkpoint)
    layout = layout_of(dataset, policy.modality, robot)
    trajectories, held = [], []
    for position in positions:
        trajectory = predict_trajectory(
            policy,
            dataset,
            position,
            steps=run.options.steps,
            action_horizon=run.options.action_horizon,
            seed=run.options.seed,
            batch_size=run.options.batch_size,
        )
        trajectories.append(trajectory)
        held.append(hold_trajectory(dataset, position, policy.modality, layout, trajectory, run.options.action_horizon))
        if run.plots is not None:
            write_plots(run.plots, dataset, position, policy.modality, layout, trajectory, run.checkpoint.name)
        after_each()
    return {
        "tag": policy.tag,
        "fps": dataset.fps,
        "denoising_steps": policy.denoising_steps,
        "described": robot is not None,
        **rate(layout, trajectories, run.options.thresholds),
        "hold": {"description": HOLD, **rate(layout, held, run.options.thresholds)},
    }


def hold_trajectory(
    dataset: GrootDataset,
    position: int,
    modality: Mapping[str, Any],
    layout: ActionLayout,
    recorded: Trajectory,
    horizon: int,
) -> Trajectory:
    """What holding the pose predicts for the frames of a trajectory."""
    states = recorded_states(dataset, position, modality, len(recorded.truth))
    configs = modality["action"]["action_configs"]
    held = hold_pose(layout, configs, states, recorded.truth, recorded.starts, horizon)
    return Trajectory(recorded.id, held, recorded.truth, recorded.starts)


def plot_names(trajectory: int) -> tuple[str, str]:
    """Names of a trajectory's two figures: actions over time, and what the cameras saw."""
    return f"trajectory_{trajectory}_comparison.png", f"trajectory_{trajectory}_cameras.png"


def write_plots(
    folder: Location,
    dataset: GrootDataset,
    position: int,
    modality: Mapping[str, Any],
    layout: ActionLayout,
    trajectory: Trajectory,
    name: str,
) -> None:
    """Write the files of `plot_names`."""
    comparison, snapshots = plot_names(trajectory.id)
    states = matching_states(recorded_states(dataset, position, modality, len(trajectory.truth)), modality, layout)
    scores = rate(layout, [trajectory], [])["average"]
    mae = f"MAE {scores['all']['mae']:.4f}"
    if scores["real"] is not None and len(layout.real) < layout.dims:
        mae += f" over all dimensions, {scores['real']['mae']:.4f} over the robot's own"
    title = f"{name}, trajectory {trajectory.id}: {mae}"
    plot = plot_actions(title, layout, trajectory.prediction, trajectory.truth, states, trajectory.starts, dataset.fps)
    (folder / comparison).write_bytes(plot)
    frames = snapshot_frames(trajectory.starts)
    images = {key: list(dataset.frames(position, key, frames)) for key in modality["video"]["modality_keys"]}
    cameras = plot_cameras(f"trajectory {trajectory.id}", images, frames, dataset.fps)
    (folder / snapshots).write_bytes(cameras)


def matching_states(states: Mapping[str, Any], modality: Mapping[str, Any], layout: ActionLayout) -> dict[str, Any]:
    """The states that have as many dimensions as the action they belong to, by action key."""
    configs = modality["action"]["action_configs"] or [{}] * len(layout.keys)
    found = {}
    for key, width, config in zip(layout.keys, layout.widths, configs, strict=True):
        state = states.get(config.get("state_key") or key)
        if state is not None and state.shape[1] == width:
            found[key] = state
    return found
