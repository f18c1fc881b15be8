"""The network against the reference's: activations, loss, gradients, five optimizer steps, denoised actions, stored
names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from groot_ray.json_file import read_json
from groot_ray.model.family import ModelFamily
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import apply_dtype_policy, save_network
from groot_ray.parity.check import ACTIVATION, LOSS, Check, absent, close, equal, guarded
from groot_ray.parity.recording import Activations, Arrays, NetworkRecording, network_recording
from groot_ray.train.step.optimizer import build_adamw, decays

PART = "network"
WEIGHT_DECAY = 1e-5
GRADIENT = 1e-4  # relative to a tensor's norm
MIXED_LOSS = 0.02  # relative
MIXED_ACTION = 0.05
WITHIN = 0.999  # share of the weights' elements that five steps must leave within ACTIVATION


def network_checks(fixtures: Path, family: ModelFamily) -> list[Check]:
    """All checks for which the folder has recorded outputs."""
    checks: list[Check] = []
    model = fixtures / "model"
    missing = [name for name in ("config.json", "model.safetensors", "inputs.npz") if not (model / name).is_file()]
    if not missing:
        recorded = network_recording(family, model)
        for quantity, function in (
            ("training forward", _training),
            ("optimizer", _optimizer),
            ("inference", _inference),
            ("bf16", _bf16),
            ("parameters", _parameters),
            ("files", _files),
        ):
            checks += guarded(PART, quantity, lambda function=function: function(recorded))  # type: ignore[misc]
    else:
        checks.append(absent(PART, "network", f"no {', '.join(f'model/{name}' for name in missing)}"))
    checks += guarded(PART, "3B names", lambda: _names(fixtures / "state_dict_3b.json", family))
    return checks


def _compared(recorded: NetworkRecording, recorder: Activations, theirs: Arrays, label: str) -> Iterator[Check]:
    """Every recorded activation that the model has, without padding."""
    for name, reference in theirs.items():
        if name in ("loss", "action_loss", "action_pred"):  # results, which are compared by themselves
            continue
        ours = recorder.activation(name)
        if ours is None:
            yield absent(PART, f"{label} {name}", "a quantity of this name is not known")
            continue
        if recorded.is_of_tokens(name) and ours.shape == reference.shape:
            ours, reference = ours[recorded.valid], reference[recorded.valid]
        yield close(PART, f"{label} {name}", ours, reference, ACTIVATION, vectors=True)


def _training(recorded: NetworkRecording) -> Iterator[Check]:
    theirs = recorded.arrays("train_fp32.npz")
    if theirs is None:
        yield absent(PART, "training forward", "no train_fp32.npz")
        return
    model = recorded.network()
    with recorded.record(model) as recorder:
        out = model(recorded.batch(), **recorded.draws())
    yield from _compared(recorded, recorder, theirs, "train")
    yield close(PART, "train action_loss", out["action_loss"].detach(), theirs["action_loss"], ACTIVATION)
    yield close(PART, "train loss", out["loss"].detach(), theirs["loss"], LOSS)
    gradients = recorded.tensors("grads.safetensors")
    if gradients is None:
        yield absent(PART, "gradients", "no grads.safetensors")
        return
    out["loss"].backward()
    yield from _gradients(model, gradients)


def _gradients(model: PolicyNetwork, theirs: dict[str, torch.Tensor]) -> Iterator[Check]:
    """Relative difference of each tensor's gradient; below 1e-4 of the total norm it is measured against that.

    The gradients of the keys' biases are rounding errors, because shifting all keys does not change attention.
    """
    whole = float(
        torch.sqrt(sum((g.double().square().sum() for g in theirs.values()), torch.zeros((), dtype=torch.float64)))
    )
    groups: dict[str, tuple[float, str]] = {}
    for name, reference in theirs.items():
        gradient = model.get_parameter(name).grad
        ours = torch.zeros_like(reference) if gradient is None else gradient
        norm = max(float(reference.double().norm()), 1e-4 * whole)
        relative = float((ours.double() - reference.double()).norm()) / norm
        part = ".".join(name.split(".")[: 2 if name.startswith("action_head") else 3])
        if part not in groups or relative >= groups[part][0]:
            groups[part] = (relative, name)
    for part, (relative, name) in groups.items():
        yield Check(PART, f"gradients {part}", relative, GRADIENT, relative <= GRADIENT, f"relative; worst in {name}")
    trained = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    extra = sorted(trained - set(theirs))
    yield equal(PART, "parameters with a gradient", extra, [], f"{len(theirs)} tensors")


def _optimizer(recorded: NetworkRecording) -> Iterator[Check]:
    steps, after = recorded.arrays("adamw_fp32.npz"), recorded.tensors("after_5_steps.safetensors")
    if steps is None or after is None:
        yield absent(PART, "five optimizer steps", "no adamw_fp32.npz with after_5_steps.safetensors")
        return
    model = recorded.network()
    rate = float(steps["lr"])
    optimizer = build_adamw(model, rate, WEIGHT_DECAY)
    losses, norms = [], []
    for _ in steps["losses"]:
        optimizer.zero_grad()
        loss = model(recorded.batch(), **recorded.draws())["loss"]
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)))
        losses.append(float(loss.detach()))
        optimizer.step()
    yield close(PART, f"losses of {len(losses)} steps", losses, steps["losses"], ACTIVATION)
    yield close(PART, f"gradient norms of {len(norms)} steps", norms, steps["grad_norms"], GRADIENT)
    differences = torch.cat([(model.get_parameter(k).detach() - v).abs().flatten() for k, v in after.items()])
    share = float((differences <= ACTIVATION).double().mean())
    yield Check(
        PART, "weights after them: share beyond 1e-5", 1 - share, 1 - WITHIN, share >= WITHIN, f"{share:.4%} within"
    )
    worst = float(differences.max())
    bound = len(losses) * rate
    yield Check(
        PART, "weights after them: largest", worst, bound, worst <= bound, "Adam turns rounding errors into full steps"
    )


def _inference(recorded: NetworkRecording) -> Iterator[Check]:
    theirs = recorded.arrays("infer_fp32.npz")
    if theirs is None:
        yield absent(PART, "inference", "no infer_fp32.npz")
        return
    model = recorded.network().eval()
    with recorded.record(model) as recorder:
        actions = model.predict(recorded.batch(), recorded.tensor("infer_noise"))
    yield from _compared(recorded, recorder, theirs, "infer")
    yield close(PART, "denoised actions", actions, theirs["action_pred"], ACTIVATION)


def _bf16(recorded: NetworkRecording) -> Iterator[Check]:
    theirs = recorded.arrays("infer_bf16.npz")
    if theirs is None:
        yield absent(PART, "bf16 denoised actions", "no infer_bf16.npz")
    else:
        model = recorded.network().eval()
        apply_dtype_policy(model, "bf16")
        batch = recorded.batch(torch.bfloat16)
        actions = model.predict(batch, recorded.tensor("infer_noise").bfloat16()).float()
        yield close(PART, "bf16 denoised actions", actions, theirs["action_pred"], MIXED_ACTION)
    mixed = recorded.arrays("train_mixed_bf16.npz")
    if mixed is None:
        yield absent(PART, "mixed bf16 loss", "no train_mixed_bf16.npz")
    else:
        model = recorded.network()
        apply_dtype_policy(model, "reference")
        with torch.autocast("cpu", torch.bfloat16):
            loss = float(model(recorded.batch(torch.bfloat16), **recorded.draws(torch.bfloat16))["loss"].detach())
        relative = abs(loss - float(mixed["loss"])) / abs(float(mixed["loss"]))
        yield Check(PART, "mixed bf16 loss", relative, MIXED_LOSS, relative <= MIXED_LOSS, "relative")
    file = recorded.folder / "mixed_dtypes.json"
    if file.is_file():
        yield _dtypes(recorded, read_json(file))
    else:
        yield absent(PART, "dtypes after loading", "no mixed_dtypes.json")


def _dtypes(recorded: NetworkRecording, theirs: dict[str, list[str]]) -> Check:
    """The dtypes of each part after loading for finetuning."""
    model = recorded.network()
    apply_dtype_policy(model, "reference")
    ours: dict[str, list[str]] = {label: [] for label in theirs}
    for name, parameter in model.named_parameters():
        state = "trainable" if parameter.requires_grad else "frozen"
        for label in theirs:
            prefix, _, kind = label.rpartition(" ")
            if kind == f"({state})" and (name == prefix or name.startswith(prefix + ".")):
                ours[label] = sorted({*ours[label], str(parameter.dtype)})
    return equal(PART, "dtypes after loading", ours, {k: sorted(v) for k, v in theirs.items()}, f"{len(theirs)} parts")


def _parameters(recorded: NetworkRecording) -> Iterator[Check]:
    file = recorded.folder / "param_info.json"
    if not file.is_file():
        yield absent(PART, "parameters", "no param_info.json")
        return
    theirs = read_json(file)
    model = recorded.network()
    own = dict(model.named_parameters())
    decay = decays(model)
    yield equal(PART, "parameter names", sorted(own), sorted(theirs), f"{len(theirs)} parameters")
    both = [name for name in theirs if name in own]
    yield equal(PART, "parameter shapes", [list(own[n].shape) for n in both], [theirs[n]["shape"] for n in both])
    yield equal(
        PART,
        "trainable parameters",
        [n for n in both if own[n].requires_grad],
        [n for n in both if theirs[n]["trainable"]],
    )
    yield equal(PART, "decayed parameters", [n for n in both if decay[n]], [n for n in both if theirs[n]["decay"]])


def _files(recorded: NetworkRecording) -> Iterator[Check]:
    """Saving and loading preserves the weights; config.json has the reference's keys."""
    import tempfile

    model = recorded.network()
    with tempfile.TemporaryDirectory() as name:
        save_network(model, Path(name))
        again = recorded.family.load_network(Path(name))
        written = read_json(Path(name) / "config.json")
    pairs = zip(model.state_dict().items(), again.state_dict().items(), strict=True)
    yield equal(PART, "weights saved and loaded", [k for (k, a), (_, b) in pairs if not torch.equal(a, b)], [])
    roundtrip = recorded.folder / "hf_roundtrip.json"
    if not roundtrip.is_file():
        yield absent(PART, "config.json", "no hf_roundtrip.json")
    else:
        theirs = read_json(roundtrip)
        yield equal(PART, "number of tensors", len(model.state_dict()), theirs["n_keys"])
        if "dtypes" in theirs:
            apply_dtype_policy(model, "reference")
            dtypes = Counter(str(tensor.dtype) for tensor in model.state_dict().values())
            yield equal(PART, "stored dtypes", dict(dtypes), theirs["dtypes"])
        expected = {k: v for k, v in theirs["config.json"].items() if k not in ("torch_dtype", "transformers_version")}
        ours = {k: v for k, v in written.items() if k not in recorded.own_keys}
        yield equal(PART, "config.json", ours, expected, f"{len(expected)} keys")


def _names(file: Path, family: ModelFamily) -> Iterator[Check]:
    if not file.is_file():
        yield absent(PART, "3B names", "no state_dict_3b.json")
        return
    theirs = read_json(file)
    with torch.device("meta"):
        model = family.build_network(family.new_config("3b"))
    apply_tune_flags(model, TuneFlags())
    yield equal(
        PART,
        "3B names and shapes",
        {k: list(v.shape) for k, v in model.state_dict().items()},
        {k: v[0] for k, v in theirs.items()},
        f"{len(theirs)} tensors",
    )
    ours = {name: str(model.dtype_of(name, p)).removeprefix("torch.") for name, p in model.named_parameters()}
    yield equal(
        PART,
        "3B training dtypes",
        ours,
        {k: v[1].removeprefix("torch.") for k, v in theirs.items()},
        f"{len(theirs)} tensors",
    )
