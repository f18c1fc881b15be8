"""The tokenizer of GR00T N1.6: Qwen3's byte-level vocabulary and the tokens that mark pictures.

NVIDIA's checkpoint does not hold it, so it is built from a copy of Qwen3's vocabulary, checked id for id, and stored in every
checkpoint under ``tokenizer/`` in the files that transformers reads too. The `tiny` one is made here, for models of laptop size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.prompt import IMAGE_TOKEN

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

DEFAULT_TOKENIZER = "Qwen/Qwen3-1.7B"
TINY = "tiny"
FOLDER = "tokenizer"
VOCABULARY_FILES = ("vocab.json", "merges.txt")

PAD = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"

# Words are split before byte pairs are merged; this is the pattern of the Qwen2 and Qwen3 tokenizers.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_QWEN3_SIZE = 151643
# SHA-256 of Qwen3's tokens in the order of their ids and of its merges, as `_fingerprint` makes it.
_QWEN3_FINGERPRINT = "ad061afcfc26a5ff7b7611ace84657fe939d902af56b06ba07d823fec5668050"
_QWEN3_ADDED = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> "
    "<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call> "
    "<|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> "
    "<think> </think> <IMG_CONTEXT> <img> </img> <box> </box> <quad> </quad> <ref> </ref> <interval> </interval>"
).split()

_TINY_SIZE = 497
_TINY_ADDED = "<|endoftext|> <|im_start|> <|im_end|> <IMG_CONTEXT> <img> </img>".split()
# Words that the tiny vocabulary has whole, most useful first; all else is spelled in their beginnings and in bytes.
_TINY_WORDS = (
    "system|You| are| a| helpful| assistant|user|image| the| pick| up| cube|pick| and| put| it| in| into| box| place|place| on| to| "
    "left| right| arm| hand| gripper| red| green| blue| yellow| transfer|transfer| move|move| from| with| bottle| cup| open| close|"
    " drawer| table| push| pull| object| ball| grasp| lift| robot| block| stack| plate| bowl| insert| peg| hole| button| press| "
    "pour| water| turn| handle| fold| shirt| basket| spoon| both| hold| white| black| apple| kitchen"
).split("|")


class Tokenizer:
    """Text to token ids, exactly as GR00T N1.6's own tokenizer gives them.

    Attributes:
        pad_id: fills shorter prompts of a batch (``<|endoftext|>``).
        image_token_id: stands for one 28x28 patch of a picture (``<IMG_CONTEXT>``).
        size: ids that the tokenizer can give, from 0.
    """

    def __init__(self, content: _Vocabulary) -> None:
        self._content = content
        self._fast = _build(content)
        self._cache: dict[str, np.ndarray] = {}
        self.pad_id = self.token_id(PAD)
        self.image_token_id = self.token_id(IMAGE_TOKEN)
        self.size = len(content.tokens) + len(content.added)

    def token_id(self, token: str) -> int:
        """The id of one token of the vocabulary."""
        number = self._fast.token_to_id(token)
        if number is None:
            raise KeyError(token)
        return number

    def encode(self, text: str) -> np.ndarray:
        """Ids int64 [L] of a text, in which the added tokens (``<|im_start|>`` ...) count as one each. Read-only; cached by text."""
        ids = self._cache.get(text)
        if ids is None:
            ids = np.array(self._fast.encode(text, add_special_tokens=False).ids, dtype=np.int64)
            ids.flags.writeable = False
            if len(self._cache) >= 4096:
                self._cache.clear()
            self._cache[text] = ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, added tokens included."""
        return self._fast.decode([int(i) for i in ids], skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write vocab.json, merges.txt, added_tokens.json and tokenizer_config.json, which transformers reads too."""
        folder.mkdir(parents=True, exist_ok=True)
        content = self._content
        vocabulary = {token: i for i, token in enumerate(content.tokens)}
        added = {token: len(content.tokens) + i for i, token in enumerate(content.added)}
        _write_json(folder / "vocab.json", vocabulary)
        merges = "".join(f"{left} {right}\n" for left, right in content.merges)
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
        _write_json(folder / "added_tokens.json", added)
        _write_json(folder / "tokenizer_config.json", _transformers_config(added))

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self._content}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["content"])  # type: ignore[misc]


def build_tokenizer(source: str | Path, cache: Path | None = None, revision: str | None = None) -> Tokenizer:
    """Build and check the tokenizer.

    Args:
        source: ``tiny``, a folder (of a checkpoint, or of a Qwen3 tokenizer), or a hub repository with Qwen3's vocabulary.
        cache: where files from the hub are kept; the hub library's own cache when not given.
        revision: branch, tag or commit of a hub repository.

    Raises:
        ConfigurationError: the source is not there or its vocabulary is not Qwen3's.
        ServiceUnavailableError: the hub does not answer.
    """
    if str(source) == TINY:
        return Tokenizer(_tiny())
    folder = Path(source).expanduser()
    if folder.is_dir():
        return Tokenizer(_read(folder, str(source)))
    from groot_ray.model.hub import fetch_files

    name = str(source)
    folder = fetch_files(name, VOCABULARY_FILES, revision=revision, cache=cache, what="the tokenizer")
    return Tokenizer(_read(folder, name))


def has_tokenizer(folder: Path) -> bool:
    """Whether a checkpoint folder brings its tokenizer along."""
    return all((folder / FOLDER / name).is_file() for name in VOCABULARY_FILES)


@dataclass(frozen=True)
class _Vocabulary:
    """Tokens by id, byte-pair merges by rank, and the added tokens, which take the ids that follow."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    added: tuple[str, ...]


def _build(content: _Vocabulary) -> FastTokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    fast = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(content.tokens)}, merges=list(content.merges), fuse_unk=False
        )
    )
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_tokens([AddedToken(token, normalized=False, special=_is_special(token)) for token in content.added])
    return fast


def _read(folder: Path, source: str) -> _Vocabulary:
    """Read a vocabulary and check that it is Qwen3's or the tiny one."""
    if has_tokenizer(folder):
        folder = folder / FOLDER
    if all((folder / name).is_file() for name in VOCABULARY_FILES):
        by_token = _read_json(folder / "vocab.json")
        merges = _parse_merges((folder / "merges.txt").read_text(encoding="utf-8"))
    elif (folder / "tokenizer.json").is_file():
        model = _read_json(folder / "tokenizer.json").get("model", {})
        by_token, merges = model.get("vocab", {}), _parse_pairs(model.get("merges", ()))
    else:
        raise ConfigurationError(
            f"there is no tokenizer in {source}: it needs {' and '.join(VOCABULARY_FILES)}, or tokenizer.json; "
            f"name a copy of {DEFAULT_TOKENIZER} as the model's tokenizer"
        )
    tokens = tuple(sorted(by_token, key=by_token.__getitem__))
    if len(tokens) == _TINY_SIZE:
        return _checked(tokens, merges, _tiny(), source)
    # Some copies list the added tokens in the vocabulary as well; their ids follow by rule.
    tokens = tuple(t for t in tokens if t not in _QWEN3_ADDED)
    contiguous = all(by_token[token] == i for i, token in enumerate(tokens))
    if len(tokens) != _QWEN3_SIZE or not contiguous or _fingerprint(tokens, merges) != _QWEN3_FINGERPRINT:
        raise ConfigurationError(
            f"the vocabulary in {source} ({len(tokens)} tokens, {len(merges)} merges) is not Qwen3's, which GR00T N1.6 was trained "
            f"with ({_QWEN3_SIZE} tokens); name a copy of {DEFAULT_TOKENIZER} as the model's tokenizer"
        )
    return _Vocabulary(tokens, merges, tuple(_QWEN3_ADDED))


def _checked(
    tokens: tuple[str, ...], merges: tuple[tuple[str, str], ...], expected: _Vocabulary, source: str
) -> _Vocabulary:
    if tokens != expected.tokens or merges != expected.merges:
        raise ConfigurationError(
            f"the vocabulary in {source} has the size of the tiny tokenizer but other tokens; use tokenizer: tiny"
        )
    return expected


def _fingerprint(tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> str:
    digest = hashlib.sha256("\n".join(tokens).encode())
    digest.update(b"\n\n")
    digest.update("\n".join(f"{left} {right}" for left, right in merges).encode())
    return digest.hexdigest()


def _parse_merges(text: str) -> tuple[tuple[str, str], ...]:
    # Tokens may hold any character but space and newline (bytes are spelled as letters), so splitlines() would cut too often.
    lines = text.split("\n")
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    return _parse_pairs(line.rstrip("\r") for line in lines if line.strip())


def _parse_pairs(pairs: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    parsed = []
    for pair in pairs:
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        parsed.append((left, right))
    return tuple(parsed)


def _tiny() -> _Vocabulary:
    """256 bytes, then the beginnings of common words, each one character longer than the one before."""
    tokens = _byte_letters()
    letters = list(tokens)
    known = set(tokens)
    merges: list[tuple[str, str]] = []
    for word in _TINY_WORDS:
        spelled = [letters[byte] for byte in word.encode()]
        for end in range(2, len(spelled) + 1):
            left, right = "".join(spelled[: end - 1]), spelled[end - 1]
            if left + right not in known and len(tokens) < _TINY_SIZE:
                known.add(left + right)
                tokens.append(left + right)
                merges.append((left, right))
    assert len(tokens) == _TINY_SIZE, len(tokens)
    return _Vocabulary(tuple(tokens), tuple(merges), tuple(_TINY_ADDED))


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies: itself where it is visible, else one from 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in visible else next(hidden) for byte in range(256)]


def _is_special(token: str) -> bool:
    return token not in (
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "</tool_response>",
        "<think>",
        "</think>",
    ) and not (token.startswith(("<|fim_", "<|repo_name", "<|file_sep")))


def _transformers_config(added: Mapping[str, int]) -> dict[str, Any]:
    entries = {
        str(number): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": _is_special(token),
        }
        for token, number in added.items()
    }
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": entries,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TURN,
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": PAD,
        "padding_side": "left",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON ({error}); fetch the tokenizer again") from None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
