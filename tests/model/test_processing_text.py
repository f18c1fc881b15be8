"""Prompts and tokenizers."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import DATA, recording

from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.prompt import expand, formalize, render
from groot_ray.model.n1d6.tokens import IMAGE_TOKEN, QWEN3
from groot_ray.model.shared.tokenizer import Tokenizer
from groot_ray.model.shared.tokenizer import build_tokenizer as build

PROMPT = json.loads((DATA / "prompt.json").read_text())


def build_tokenizer(source: Path | str) -> Tokenizer:
    return build(source, QWEN3)


TINY = build_tokenizer("tiny")


@pytest.fixture(scope="module")
def qwen3(shared_dir: Path) -> Tokenizer:
    return build_tokenizer(shared_dir / "tokenizer")


@given(st.text())
def test_formal_language_against_a_slow_version(text: str) -> None:
    kept = [c for c in text.lower() if c == "_" or c.isspace() or re.match(r"\w", c)]
    assert formalize(text) == "".join(kept)


def test_formal_language_by_example() -> None:
    assert formalize("Pick-up the robot's CUBE_2, please!") == "pickup the robots cube_2 please"
    assert formalize("Éteins 灯。") == "éteins 灯"


def test_prompt_equals_the_reference() -> None:
    assert render(formalize(PROMPT["raw_text"]), 2) == PROMPT["texts"]["eval"]


def test_a_picture_has_a_token_for_every_28_by_28_pixels() -> None:
    text = expand(render("go", 2), [(252, 252), (56, 84)])
    assert text.count("<IMG_CONTEXT>") == 81 + 6
    assert "go<image 1><img><IMG" in text and "</img><image 2><img><IMG" in text and text.endswith("</img><|im_end|>\n")
    assert expand(render("say <image-1>", 1), [(56, 56)]).count("<image-1>") == 1  # the user's own words stay
    with pytest.raises(ValueError, match="not a prompt for 3 images"):
        expand(render("go", 2), [(252, 252)] * 3)


def test_tokens_equal_the_reference_id_for_id(qwen3: Tokenizer) -> None:
    text = expand(PROMPT["texts"]["eval"], [(252, 252)] * 2)
    ids = qwen3.encode(text)
    layout = [token for token, _, times in PROMPT["run_length_layout"] for _ in range(times)]
    np.testing.assert_array_equal(ids, layout)
    np.testing.assert_array_equal(ids, recording()["batch.input_ids"][0])
    assert qwen3.pad_id == PROMPT["pad_token_id"] == 151643
    assert qwen3.token_id(IMAGE_TOKEN) == 151669 and qwen3.size == 151680
    assert qwen3.decode(ids) == text


def test_added_tokens_have_the_ids_of_the_checkpoint(qwen3: Tokenizer, shared_dir: Path) -> None:
    added = json.loads((shared_dir / "tokenizer" / "added_tokens.json").read_text())
    assert {token: qwen3.token_id(token) for token in added} == added
    assert [qwen3.encode(token).tolist() for token in added] == [[number] for number in added.values()]


def test_ids_equal_those_of_transformers(qwen3: Tokenizer, shared_dir: Path, tmp_path: Path) -> None:
    """Any text, also outside of the prompt: NVIDIA's tokenizer files read by transformers, and ours as we save them."""
    from transformers import AutoTokenizer

    qwen3.save(tmp_path / "ours")
    TINY.save(tmp_path / "tiny")
    pairs = [
        (qwen3, AutoTokenizer.from_pretrained(shared_dir / "tokenizer")),
        (qwen3, AutoTokenizer.from_pretrained(tmp_path / "ours")),
        (TINY, AutoTokenizer.from_pretrained(tmp_path / "tiny")),
    ]
    rng = np.random.default_rng(0)
    texts = ["".join(chr(c) for c in rng.integers(1, 0x3000, 60)) for _ in range(100)]
    texts += [
        "Don't STOP  now!\n\n 12345 <think>x</think> été\u0301 世界 <img></box>",
        "a\r\n\t b ",
        "",
        "<|im_start|>user\n",
    ]
    for ours, theirs in pairs:
        for text in texts:
            assert ours.encode(text).tolist() == theirs(text, add_special_tokens=False)["input_ids"]
        assert theirs.padding_side == "left" or theirs is pairs[0][1]
        assert theirs.pad_token_id == ours.pad_id


def test_a_tokenizer_survives_saving_and_pickling(qwen3: Tokenizer, tmp_path: Path) -> None:
    text = expand(render("lift the cup", 1), [(252, 252)])
    for name, tokenizer in (("qwen3", qwen3), ("tiny", TINY)):
        tokenizer.save(tmp_path / name / "tokenizer")
        for copy in (build_tokenizer(tmp_path / name), pickle.loads(pickle.dumps(tokenizer))):
            np.testing.assert_array_equal(copy.encode(text), tokenizer.encode(text))
            assert copy.size == tokenizer.size


def test_a_vocabulary_in_one_file_is_read_too(qwen3: Tokenizer, tmp_path: Path) -> None:
    qwen3._fast.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert build_tokenizer(tmp_path).encode("lift <img>").tolist() == qwen3.encode("lift <img>").tolist()


def test_tiny_tokenizer_has_fixed_ids() -> None:
    added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>"]
    assert [TINY.token_id(token) for token in added] == [497, 498, 499, 500, 501, 502]
    assert TINY.pad_id == 497 and TINY.token_id(IMAGE_TOKEN) == 500 and TINY.size <= 512
    # These ids are in checkpoints: a change of the word list would break them.
    ids = TINY.encode("pick up the red cube")
    assert ids.tolist() == [303, 296, 290, 348, 300]
    assert [TINY.decode([i]) for i in ids] == ["pick", " up", " the", " red", " cube"]
    ids = TINY.encode(expand(render("pick up the cube", 1), [(252, 252)]))
    assert (ids == 500).sum() == 81 and len(ids) < 120


@given(st.text())
def test_tiny_tokenizer_takes_any_text(text: str) -> None:
    import unicodedata

    ids = TINY.encode(text)
    assert ids.dtype == np.int64 and (ids >= 0).all() and (ids < 512).all()
    assert TINY.decode(ids) == unicodedata.normalize("NFC", text)


def test_encoded_text_is_cached_and_cannot_be_changed() -> None:
    ids = TINY.encode("hold the cup")
    assert TINY.encode("hold the cup") is ids
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_another_vocabulary_is_refused(tmp_path: Path, shared_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no tokenizer in .*: it needs vocab.json and merges.txt"):
        build_tokenizer(tmp_path)
    TINY.save(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    names = list(vocabulary)
    vocabulary[names[300]], vocabulary[names[301]] = vocabulary[names[301]], vocabulary[names[300]]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(ConfigurationError, match="other tokens; use tokenizer: tiny"):
        build_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ConfigurationError, match=r"\(1 tokens, 241 merges\) is not Qwen3's"):
        build_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        build_tokenizer(tmp_path)
    # Two tokens of the real vocabulary swapped: same size, other ids.
    vocabulary = json.loads((shared_dir / "tokenizer" / "vocab.json").read_text())
    vocabulary["put"], vocabulary["box"] = vocabulary["box"], vocabulary["put"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_bytes((shared_dir / "tokenizer" / "merges.txt").read_bytes())
    with pytest.raises(ConfigurationError, match="151643 tokens, 151387 merges. is not Qwen3's"):
        build_tokenizer(tmp_path)
