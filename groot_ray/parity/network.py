"""The network against the reference's: activations, loss, gradients, five optimizer steps, denoised actions, stored names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.sizes import config as size_config
from groot_ray.model.n1d6.weights import apply_dtype_policy, load_model, save_model
from groot_ray.model.shared.trainable import TuneFlags, apply_tune_flags
from groot_ray.parity.check import ACTIVATION, LOSS, Check, absent, close, equal, guarded
from groot_ray.parity.recorder import Recorder
from groot_ray.train.step.optimizer import build_adamw, decays

PART = "network"
WEIGHT_DECAY = 1e-5
GRADIENT = 1e-4  # relative to a tensor's norm
MIXED_LOSS = 0.02  # relative
MIXED_ACTION = 0.05
WITHIN = 0.999  # share of the weights' elements that five steps must leave within ACTIVATION

Arrays = dict[str, np.ndarray]


def network_checks(fixtures: Path) -> list[Check]:
    """All checks for which the folder has recorded outputs."""
    checks: list[Check] = []
    model = fixtures / "model"
    missing = [name for name in ("config.json", "model.safetensors", "inputs.npz") if not (model / name).is_file()]
    if not missing:
        for quantity, function in (
            ("training forward", _training),
            ("optimizer", _optimizer),
            ("inference", _inference),
            ("bf16", _bf16),
            ("parameters", _parameters),
            ("files", _files),
        ):
            checks += guarded(PART, quantity, lambda function=function: function(Recorded(model)))
    else:
        checks.append(absent(PART, "network", f"no {', '.join(f'model/{name}' for name in missing)}"))
    checks += guarded(PART, "3B names", lambda: _names(fixtures / "state_dict_3b.json"))
    return checks


class Recorded:
    """A folder ``model/`` of recorded inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = json.loads((folder / "config.json").read_text())
        if (folder / "eagle_overrides.json").is_file():
            data["eagle_overrides"] = json.loads((folder / "eagle_overrides.json").read_text())
        self.config = Gr00tConfig.from_json(data)
        self.inputs = self.arrays("inputs.npz") or {}
        count = sum(bool(re.fullmatch(r"pixel_values_\d+", name)) for name in self.inputs)
        self.pixels = [torch.from_numpy(self.inputs[f"pixel_values_{index}"]) for index in range(count)]
        self.flags = TuneFlags(
            tune_llm=self.config.tune_llm,
            tune_visual=self.config.tune_visual,
            tune_projector=self.config.tune_projector,
            tune_diffusion_model=self.config.tune_diffusion_model,
            tune_vlln=self.config.tune_vlln,
            tune_top_llm_layers=self.config.tune_top_llm_layers,
        )

    def arrays(self, name: str) -> Arrays | None:
        """The arrays of an npz file, or None where there is none."""
        file = self.folder / name
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}

    def tensors(self, name: str) -> dict[str, torch.Tensor] | None:
        """The tensors of a safetensors file, or None where there is none."""
        from safetensors.torch import load_file

        file = self.folder / name
        return load_file(file) if file.is_file() else None

    def model(self) -> Gr00tN1d6:
        """The model with the recorded weights in float32, set up to be finetuned, without anything random."""
        model = Gr00tN1d6(self.config)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if self.config.state_dropout_prob < 1:
            model.action_head.state_dropout_prob = 0.0
        model.action_head.state_noise_scale = 0.0
        model.load_state_dict({k: v.float() for k, v in (self.tensors("model.safetensors") or {}).items()})
        apply_tune_flags(model, self.flags)
        return model

    def batch(self) -> dict[str, Any]:
        """The recorded inputs as a batch."""
        names = ("input_ids", "attention_mask", "state", "action", "action_mask", "embodiment_id")
        batch: dict[str, Any] = {name: torch.from_numpy(self.inputs[name]) for name in names if name in self.inputs}
        return {**batch, "pixel_values": self.pixels}

    def tensor(self, name: str) -> torch.Tensor:
        """A recorded input."""
        return torch.from_numpy(self.inputs[name])

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width of every image."""
        return [(group.shape[-2], group.shape[-1]) for group in self.pixels for _ in group]

    @property
    def valid(self) -> np.ndarray:
        """Tokens that are not padding, bool [B, L]; what attention leaves on padded ones is arbitrary."""
        return self.inputs["attention_mask"].astype(bool)


def _compared(recorded: Recorded, recorder: Recorder, theirs: Arrays, label: str) -> Iterator[Check]:
    """Every recorded activation that the model has, padding left out."""
    of_tokens = re.compile(r"(llm_layer\d+|vlln_out|backbone_features)")
    for name, reference in theirs.items():
        if name in ("loss", "action_loss", "action_pred"):  # results, which are compared by themselves
            continue
        ours = recorder.activation(name)
        if ours is None:
            yield absent(PART, f"{label} {name}", "a quantity of this name is not known")
            continue
        if of_tokens.fullmatch(name) and ours.shape == reference.shape:
            ours, reference = ours[recorded.valid], reference[recorded.valid]
        yield close(PART, f"{label} {name}", ours, reference, ACTIVATION, vectors=True)


def _training(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("train_fp32.npz")
    if theirs is None:
        yield absent(PART, "training forward", "no train_fp32.npz")
        return
    model = recorded.model()
    with Recorder(model, recorded.image_sizes) as recorder:
        out = model(recorded.batch(), recorded.tensor("noise"), recorded.tensor("t"))
    yield from _compared(recorded, recorder, theirs, "train")
    yield close(PART, "train action_loss", out["action_loss"].detach(), theirs["action_loss"], ACTIVATION)
    yield close(PART, "train loss", out["loss"].detach(), theirs["loss"], LOSS)
    gradients = recorded.tensors("grads.safetensors")
    if gradients is None:
        yield absent(PART, "gradients", "no grads.safetensors")
        return
    out["loss"].backward()
    yield from _gradients(model, gradients)


def _gradients(model: Gr00tN1d6, theirs: dict[str, torch.Tensor]) -> Iterator[Check]:
    """Relative difference of each tensor's gradient; below 1e-4 of the whole's norm it is measured against that.

    Keys' biases have no gradient but rounding, since a shift of all keys changes no attention.
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


def _optimizer(recorded: Recorded) -> Iterator[Check]:
    steps, after = recorded.arrays("adamw_fp32.npz"), recorded.tensors("after_5_steps.safetensors")
    if steps is None or after is None:
        yield absent(PART, "five optimizer steps", "no adamw_fp32.npz with after_5_steps.safetensors")
        return
    model = recorded.model()
    rate = float(steps["lr"])
    optimizer = build_adamw(model, rate, WEIGHT_DECAY)
    losses, norms = [], []
    for _ in steps["losses"]:
        optimizer.zero_grad()
        loss = model(recorded.batch(), recorded.tensor("noise"), recorded.tensor("t"))["loss"]
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
        PART, "weights after them: largest", worst, bound, worst <= bound, "Adam turns rounding into whole steps"
    )


def _inference(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("infer_fp32.npz")
    if theirs is None:
        yield absent(PART, "inference", "no infer_fp32.npz")
        return
    model = recorded.model().eval()
    with Recorder(model, recorded.image_sizes) as recorder:
        actions = model.predict(recorded.batch(), recorded.tensor("infer_noise"))
    yield from _compared(recorded, recorder, theirs, "infer")
    yield close(PART, "denoised actions", actions, theirs["action_pred"], ACTIVATION)


def _bf16(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("infer_bf16.npz")
    if theirs is None:
        yield absent(PART, "bf16 denoised actions", "no infer_bf16.npz")
    else:
        model = recorded.model().eval()
        apply_dtype_policy(model, "bf16")
        batch = _cast(recorded.batch(), torch.bfloat16)
        actions = model.predict(batch, recorded.tensor("infer_noise").bfloat16()).float()
        yield close(PART, "bf16 denoised actions", actions, theirs["action_pred"], MIXED_ACTION)
    mixed = recorded.arrays("train_mixed_bf16.npz")
    if mixed is None:
        yield absent(PART, "mixed bf16 loss", "no train_mixed_bf16.npz")
    else:
        model = recorded.model()
        apply_dtype_policy(model, "reference")
        noise, time = recorded.tensor("noise").bfloat16(), recorded.tensor("t").bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            loss = float(model(_cast(recorded.batch(), torch.bfloat16), noise, time)["loss"].detach())
        relative = abs(loss - float(mixed["loss"])) / abs(float(mixed["loss"]))
        yield Check(PART, "mixed bf16 loss", relative, MIXED_LOSS, relative <= MIXED_LOSS, "relative")
    file = recorded.folder / "mixed_dtypes.json"
    if file.is_file():
        yield _dtypes(recorded, json.loads(file.read_text()))
    else:
        yield absent(PART, "dtypes after loading", "no mixed_dtypes.json")


def _cast(batch: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """What the reference casts to the model's first dtype: images, state, action, mask."""
    names = ("state", "action", "action_mask")
    cast = {k: v.to(dtype) if k in names else v for k, v in batch.items()}
    return {**cast, "pixel_values": [image.to(dtype) for image in batch["pixel_values"]]}


def _dtypes(recorded: Recorded, theirs: dict[str, list[str]]) -> Check:
    """Which dtypes each part has after loading for finetuning."""
    model = recorded.model()
    apply_dtype_policy(model, "reference")
    ours: dict[str, list[str]] = {label: [] for label in theirs}
    for name, parameter in model.named_parameters():
        state = "trainable" if parameter.requires_grad else "frozen"
        for label in theirs:
            prefix, _, kind = label.rpartition(" ")
            if kind == f"({state})" and (name == prefix or name.startswith(prefix + ".")):
                ours[label] = sorted({*ours[label], str(parameter.dtype)})
    return equal(PART, "dtypes after loading", ours, {k: sorted(v) for k, v in theirs.items()}, f"{len(theirs)} parts")


def _parameters(recorded: Recorded) -> Iterator[Check]:
    file = recorded.folder / "param_info.json"
    if not file.is_file():
        yield absent(PART, "parameters", "no param_info.json")
        return
    theirs = json.loads(file.read_text())
    model = recorded.model()
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


def _files(recorded: Recorded) -> Iterator[Check]:
    """What is saved and loaded again is the same; config.json has the reference's keys."""
    import tempfile

    model = recorded.model()
    with tempfile.TemporaryDirectory() as name:
        save_model(model, Path(name))
        again = load_model(Path(name))
        written = json.loads((Path(name) / "config.json").read_text())
    pairs = zip(model.state_dict().items(), again.state_dict().items(), strict=True)
    yield equal(PART, "weights saved and loaded", [k for (k, a), (_, b) in pairs if not torch.equal(a, b)], [])
    roundtrip = recorded.folder / "hf_roundtrip.json"
    if not roundtrip.is_file():
        yield absent(PART, "config.json", "no hf_roundtrip.json")
    else:
        theirs = json.loads(roundtrip.read_text())
        yield equal(PART, "number of tensors", len(model.state_dict()), theirs["n_keys"])
        if "dtypes" in theirs:
            apply_dtype_policy(model, "reference")
            dtypes = Counter(str(tensor.dtype) for tensor in model.state_dict().values())
            yield equal(PART, "stored dtypes", dict(dtypes), theirs["dtypes"])
        expected = {k: v for k, v in theirs["config.json"].items() if k not in ("torch_dtype", "transformers_version")}
        ours = {k: v for k, v in written.items() if k != "eagle_overrides"}
        yield equal(PART, "config.json", ours, expected, f"{len(expected)} keys")


def _names(file: Path) -> Iterator[Check]:
    if not file.is_file():
        yield absent(PART, "3B names", "no state_dict_3b.json")
        return
    theirs = json.loads(file.read_text())
    with torch.device("meta"):
        model = Gr00tN1d6(size_config("3b"))
    apply_tune_flags(model, TuneFlags())
    yield equal(
        PART,
        "3B names and shapes",
        {k: list(v.shape) for k, v in model.state_dict().items()},
        {k: v[0] for k, v in theirs.items()},
        f"{len(theirs)} tensors",
    )
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    ours = {n: "float32" if n in trained or n.startswith("action_head.") else "bfloat16" for n in model.state_dict()}
    yield equal(
        PART,
        "3B training dtypes",
        ours,
        {k: v[1].removeprefix("torch.") for k, v in theirs.items()},
        f"{len(theirs)} tensors",
    )
