"""Configuration of GR00T N1.6: `config.json` in and out, with the sizes of the backbone that it implies."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from groot_ray.errors import DataError
from groot_ray.model.shared.flow import FlowNoise
from groot_ray.model.shared.protocols import Limits
from groot_ray.model.shared.sizes import DitSize, HeadSize, TextSize

MODEL_TYPE = "Gr00tN1d6"
ARCHITECTURE = "Gr00tN1d6"


@dataclass(frozen=True)
class VisionSize:
    """Sizes of the SigLIP2 tower."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_patches: int = 256
    patch_size: int = 14
    layer_norm_eps: float = 1e-6


TEXT = TextSize(
    hidden_size=2048,
    intermediate_size=6144,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=151680,
    max_position_embeddings=40960,
    rms_norm_eps=1e-6,
    rope_theta=1e6,
)

# transformers 4.51 writes these defaults into every configuration; we ignore them.
_TRANSFORMERS_DEFAULTS = frozenset(
    "return_dict output_hidden_states output_attentions torchscript torch_dtype dtype use_bfloat16 tf_legacy_loss "
    "pruned_heads "
    "tie_word_embeddings chunk_size_feed_forward is_encoder_decoder is_decoder cross_attention_hidden_size "
    "add_cross_attention "
    "tie_encoder_decoder max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty "
    "temperature top_k "
    "top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
    "num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id "
    "remove_invalid_values "
    "exponential_decay_length_penalty suppress_tokens begin_suppress_tokens architectures finetuning_task id2label "
    "label2id "
    "tokenizer_class prefix bos_token_id pad_token_id eos_token_id sep_token_id decoder_start_token_id "
    "task_specific_params "
    "problem_type _name_or_path _attn_implementation_autoset transformers_version".split()
)


def _diffusion_defaults() -> dict[str, Any]:
    return {
        "positional_embeddings": None,
        "num_layers": 32,
        "num_attention_heads": 32,
        "attention_head_dim": 48,
        "norm_type": "ada_norm",
        "dropout": 0.2,
        "final_dropout": True,
        "output_dim": 1024,
        "interleave_self_attention": True,
    }


@dataclass
class Gr00tConfig:
    """Values of `config.json`; a key that a file lacks has the default of the reference's class."""

    model_dtype: str = "bfloat16"
    model_name: str = "nvidia/Eagle-Block2A-2B-v2"
    backbone_model_type: str = "eagle"
    model_revision: str | None = None
    tune_top_llm_layers: int = 4
    backbone_embedding_dim: int = 2048
    tune_llm: bool = False
    tune_visual: bool = False
    select_layer: int = 16
    reproject_vision: bool = False
    use_flash_attention: bool = True
    load_bf16: bool = True
    eagle_collator: bool = False
    collator_overwrite_image_inputs: bool = False
    backbone_trainable_params_fp32: bool = True
    image_crop_size: Any = None
    image_target_size: Any = None
    shortest_image_edge: int | None = 256
    crop_fraction: float | None = 0.95
    random_rotation_angle: float | None = None
    color_jitter_params: dict[str, float] | None = None
    use_albumentations_transforms: bool = True
    extra_augmentation_config: dict[str, Any] | None = None
    formalize_language: bool = True
    apply_sincos_state_encoding: bool = False
    use_relative_action: bool = False
    max_state_dim: int = 29
    max_action_dim: int = 29
    action_horizon: int = 16
    hidden_size: int = 1024
    input_embedding_dim: int = 1536
    add_pos_embed: bool = True
    attn_dropout: float = 0.2
    use_vlln: bool = True
    max_seq_len: int = 1024
    use_alternate_vl_dit: bool = True
    attend_text_every_n_blocks: int = 2
    diffusion_model_cfg: dict[str, Any] = field(default_factory=_diffusion_defaults)
    num_inference_timesteps: int = 4
    noise_beta_alpha: float = 1.5
    noise_beta_beta: float = 1.0
    noise_s: float = 0.999
    num_timestep_buckets: int = 1000
    tune_projector: bool = True
    tune_diffusion_model: bool = True
    tune_vlln: bool = True
    state_dropout_prob: float = 0.0
    state_additive_noise_scale: float = 0.0
    max_num_embodiments: int = 32
    extra: dict[str, Any] = field(default_factory=dict)  # keys of the file that this class does not know
    # Keys that the file or the caller set. `to_json` writes only these, as the reference does.
    set_keys: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Gr00tConfig:
        """Read the content of a `config.json`.

        Raises:
            DataError: it is another model's.
        """
        model_type = data.get("model_type", MODEL_TYPE)
        if model_type != MODEL_TYPE:
            raise DataError(
                f"config.json is of model type {model_type!r}, not {MODEL_TYPE!r}; name a GR00T N1.6 checkpoint"
            )
        known = {f.name for f in fields(cls)} - {"extra", "set_keys"}
        values = {k: copy.deepcopy(v) for k, v in data.items() if k in known}
        extra = {k: copy.deepcopy(v) for k, v in data.items() if k not in known and k != "model_type"}
        return cls(**values, extra=extra, set_keys=tuple(values))

    def to_json(self) -> dict[str, Any]:
        """Content of a `config.json`: the keys that were set, sorted, as transformers writes it; missing keys mean the
        defaults.
        """
        written = {name: copy.deepcopy(getattr(self, name)) for name in self.set_keys}
        written |= {k: copy.deepcopy(v) for k, v in self.extra.items() if k not in _TRANSFORMERS_DEFAULTS}
        written |= {"architectures": [ARCHITECTURE], "model_type": MODEL_TYPE}
        return dict(sorted(written.items()))

    def replace(self, **values: Any) -> Gr00tConfig:
        """A copy with other values, which count as set."""
        unknown = set(values) - {f.name for f in fields(self)}
        if unknown:
            raise DataError(f"the model's configuration has no key {sorted(unknown)[0]!r}; correct the name")
        return replace(self, **values, set_keys=tuple(dict.fromkeys([*self.set_keys, *values])))

    @property
    def model_type(self) -> str:
        """`model_type` of config.json."""
        return MODEL_TYPE

    @property
    def limits(self) -> Limits:
        """Widths of the padded state and action, and the action horizon."""
        return Limits(self.max_state_dim, self.max_action_dim, self.action_horizon)

    @property
    def loss_inputs(self) -> FlowNoise:
        """Distribution of noise and time in training."""
        return FlowNoise(
            self.action_horizon, self.max_action_dim, self.noise_beta_alpha, self.noise_beta_beta, self.noise_s
        )

    @property
    def denoising_steps(self) -> int:
        """Euler steps of a prediction."""
        return self.num_inference_timesteps

    @property
    def dit(self) -> DitSize:
        """Sizes of the diffusion transformer."""
        values = self.diffusion_model_cfg
        return DitSize(
            layers=int(values["num_layers"]),
            heads=int(values["num_attention_heads"]),
            head_dim=int(values["attention_head_dim"]),
            features=self.backbone_embedding_dim,
            output=int(values["output_dim"]),
            dropout=values.get("dropout", 0.0),
            final_dropout=values.get("final_dropout", False),
            interleave=values.get("interleave_self_attention", True),
            alternate=self.use_alternate_vl_dit,
            attend_text_every=self.attend_text_every_n_blocks,
        )

    @property
    def head(self) -> HeadSize:
        """Sizes of the action head."""
        return HeadSize(
            self.dit,
            embodiments=self.max_num_embodiments,
            state_dim=self.max_state_dim,
            action_dim=self.max_action_dim,
            hidden=self.hidden_size,
            positions=self.max_seq_len if self.add_pos_embed else None,
            normalize_features=self.use_vlln,
        )

    @property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """Sizes of a backbone that is not the 3B one: ``{"vision": {...}, "text": {...}, "top": {...}}``."""
        return self.extra.get("eagle_overrides") or {}

    @property
    def vision(self) -> VisionSize:
        """Sizes of the vision tower."""
        return _resized(VisionSize(), self.overrides.get("vision", {}))

    @property
    def text(self) -> TextSize:
        """Sizes of the language model."""
        return _resized(TEXT, self.overrides.get("text", {}))

    @property
    def image_token(self) -> int:
        """Token id whose embedding is replaced by an image's features."""
        return int(self.overrides.get("top", {}).get("image_token_index", 151669))


Size = TypeVar("Size", VisionSize, TextSize)


def _resized(size: Size, values: Mapping[str, Any]) -> Size:
    """`size` with those of the `values` that it has."""
    known = {f.name for f in fields(size)}
    return replace(size, **{k: v for k, v in values.items() if k in known})
