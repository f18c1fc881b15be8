"""The tokens that GR00T N1.6 adds to Qwen3's vocabulary, and those that mark images."""

from __future__ import annotations

from groot_ray.model.shared.tokenizer import TokenizerSpec

IMAGE_TOKEN = "<IMG_CONTEXT>"  # represents 28x28 pixels of an image
IMAGE_START = "<img>"
IMAGE_END = "</img>"

QWEN3 = TokenizerSpec(
    title="GR00T N1.6",
    repository="Qwen/Qwen3-1.7B",
    added=tuple(
        (
            "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
            "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
            "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
            "<|file_sep|> "
            "<tool_response> </tool_response> <think> </think> "
            "<IMG_CONTEXT> <img> </img> <box> </box> <quad> </quad> <ref> </ref> <interval> </interval>"
        ).split()
    ),
    tiny_added=("<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, IMAGE_START, IMAGE_END),
)
