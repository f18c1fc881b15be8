"""Qwen3's tokenizer with a family's added tokens: transformers' own, built from a checked vocabulary.

NVIDIA's checkpoints do not contain it. It is built from a copy of Qwen3's vocabulary, checked id for id, and stored in
every checkpoint that we write under ``tokenizer/``, in the files that transformers reads too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import ConfigurationError
from groot_ray.json_file import read_json_object
from groot_ray.model.shared.tiny_vocabulary import SIZE as TINY_SIZE
from groot_ray.model.shared.tiny_vocabulary import tiny_vocabulary

if TYPE_CHECKING:
    import numpy as np
    from transformers import Qwen2Tokenizer

TINY = "tiny"
FOLDER = "tokenizer"
VOCABULARY_FILES = ("vocab.json", "merges.txt")

PAD = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"

_QWEN3_SIZE = 151643
# SHA-256 of Qwen3's tokens in the order of their ids and of its merges, as `_fingerprint` makes it.
_QWEN3_FINGERPRINT = "ad061afcfc26a5ff7b7611ace84657fe939d902af56b06ba07d823fec5668050"
# Added tokens that transformers does not count as special, so that it shows them when it decodes.
_PLAIN = {"<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"}
_PLAIN_PREFIXES = ("<|fim_", "<|repo_name", "<|file_sep")
_CACHED_TEXTS = 4096


@dataclass(frozen=True)
class TokenizerSpec:
    """What a family adds to the vocabulary.

    Attributes:
        title: the family, for errors.
        repository: hub repository with Qwen3's vocabulary.
        added: tokens with the ids that follow Qwen3's; `tiny_added` those that follow the tiny vocabulary's.
    """

    title: str
    repository: str
    added: tuple[str, ...]
    tiny_added: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, byte-pair merges by rank, and the added tokens, which take the ids that follow."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    added: tuple[str, ...]

    @property
    def ids(self) -> dict[str, int]:
        """Id of each token except the added ones."""
        return {token: number for number, token in enumerate(self.tokens)}

    @property
    def added_ids(self) -> dict[str, int]:
        """Id of each added token."""
        return {token: len(self.tokens) + number for number, token in enumerate(self.added)}


class Tokenizer:
    """Text to token ids, as the family's own tokenizer gives them.

    Attributes:
        pad_id: fills shorter prompts of a batch (``<|endoftext|>``).
        size: number of ids; they run from 0 to size - 1.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._fast = _build(vocabulary)
        self._cache: dict[str, np.ndarray] = {}
        self.pad_id = self.token_id(PAD)
        self.size = len(vocabulary.tokens) + len(vocabulary.added)

    def token_id(self, token: str) -> int:
        """The id of one token of the vocabulary.

        Raises:
            KeyError: there is no such token.
        """
        number = self._fast.backend_tokenizer.token_to_id(token)
        if number is None:
            raise KeyError(token)
        return int(number)

    def encode(self, text: str) -> np.ndarray:
        """Ids int64 [L] of a text, in which each added token (``<|im_start|>`` ...) is one id. Read-only; cached by
        text.

        Calls the backend directly, so that threads can share it: transformers' call changes the tokenizer's settings.
        """
        import numpy as np

        ids = self._cache.get(text)
        if ids is None:
            ids = np.array(self._fast.backend_tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
            ids.flags.writeable = False
            if len(self._cache) >= _CACHED_TEXTS:
                self._cache.clear()
            self._cache[text] = ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, added tokens included."""
        text = self._fast.decode([int(i) for i in ids], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def save(self, folder: Path) -> None:
        """Write vocab.json, merges.txt, added_tokens.json and tokenizer_config.json, which transformers reads too."""
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary = self._vocabulary
        _write_json(folder / "vocab.json", vocabulary.ids)
        merges = "".join(f"{left} {right}\n" for left, right in vocabulary.merges)
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
        _write_json(folder / "added_tokens.json", vocabulary.added_ids)
        _write_json(folder / "tokenizer_config.json", _transformers_config(vocabulary.added_ids))

    def __getstate__(self) -> dict[str, Any]:
        return {"vocabulary": self._vocabulary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["vocabulary"])  # type: ignore[misc]


def build_tokenizer(
    source: str | Path, spec: TokenizerSpec, cache: Path | None = None, revision: str | None = None
) -> Tokenizer:
    """Build and check the tokenizer.

    Args:
        source: ``tiny``, a folder (of a checkpoint, or of a Qwen3 tokenizer), or a hub repository with Qwen3's
            vocabulary.
        spec: the family's added tokens.
        cache: where files from the hub are kept; the hub library's own cache when not given.
        revision: branch, tag or commit of a hub repository.

    Raises:
        ConfigurationError: the source does not exist, or its vocabulary is not Qwen3's.
        ServiceUnavailableError: the hub does not answer.
    """
    if str(source) == TINY:
        return Tokenizer(Vocabulary(*tiny_vocabulary(), spec.tiny_added))
    folder = Path(source).expanduser()
    if not folder.is_dir():
        from groot_ray.hub import fetch_files

        folder = fetch_files(str(source), VOCABULARY_FILES, revision=revision, cache=cache, what="the tokenizer")
    return Tokenizer(_read(folder, str(source), spec))


def has_tokenizer(folder: Path) -> bool:
    """Whether a checkpoint folder contains a tokenizer."""
    return all((folder / FOLDER / name).is_file() for name in VOCABULARY_FILES)


def _build(vocabulary: Vocabulary) -> Qwen2Tokenizer:
    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer

    added = {
        number: AddedToken(token, normalized=False, special=_is_special(token))
        for token, number in vocabulary.added_ids.items()
    }
    return Qwen2Tokenizer(
        vocab=vocabulary.ids,
        merges=[*vocabulary.merges],  # type: ignore[list-item]  # pairs, whatever its annotation says
        added_tokens_decoder=added,
        pad_token=PAD,
        eos_token=END_OF_TURN,
    )


def _read(folder: Path, source: str, spec: TokenizerSpec) -> Vocabulary:
    """Read a vocabulary and check that it is Qwen3's or the tiny one."""
    if has_tokenizer(folder):
        folder = folder / FOLDER
    by_token, merges = _read_files(folder, source, spec)
    tokens = tuple(sorted(by_token, key=by_token.__getitem__))
    if len(tokens) == TINY_SIZE:
        if (tokens, merges) != tiny_vocabulary():
            raise ConfigurationError(
                f"the vocabulary in {source} has the size of the tiny tokenizer but other tokens; use tokenizer: tiny"
            )
        return Vocabulary(tokens, merges, spec.tiny_added)
    # Some copies list the added tokens in the vocabulary as well; their ids follow from the rule above.
    tokens = tuple(t for t in tokens if t not in spec.added)
    contiguous = all(by_token[token] == number for number, token in enumerate(tokens))
    if len(tokens) != _QWEN3_SIZE or not contiguous or _fingerprint(tokens, merges) != _QWEN3_FINGERPRINT:
        raise ConfigurationError(
            f"the vocabulary in {source} ({len(tokens)} tokens, {len(merges)} merges) is not Qwen3's, which "
            f"{spec.title} was trained "
            f"with ({_QWEN3_SIZE} tokens); name a copy of {spec.repository} as the model's tokenizer"
        )
    return Vocabulary(tokens, merges, spec.added)


def _read_files(folder: Path, source: str, spec: TokenizerSpec) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Ids by token, and merges, of vocab.json with merges.txt, or of tokenizer.json."""
    from tokenizers.models import BPE

    vocab, merges = (folder / name for name in VOCABULARY_FILES)
    try:
        if vocab.is_file() and merges.is_file():
            ids, pairs = BPE.read_file(str(vocab), str(merges))
            return ids, tuple(pairs)
        if (folder / "tokenizer.json").is_file():
            model = read_json_object(folder / "tokenizer.json").get("model", {})
            split = (pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ()))
            return model.get("vocab", {}), tuple((left, right) for left, right in split)
    except Exception as error:  # tokenizers raises Exception itself
        raise ConfigurationError(f"the tokenizer in {folder} cannot be read ({error}); fetch it again") from None
    raise ConfigurationError(
        f"there is no tokenizer in {source}: it needs {' and '.join(VOCABULARY_FILES)}, or tokenizer.json; "
        f"name a copy of {spec.repository} as the model's tokenizer"
    )


def _fingerprint(tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> str:
    digest = hashlib.sha256("\n".join(tokens).encode())
    digest.update(b"\n\n")
    digest.update("\n".join(f"{left} {right}" for left, right in merges).encode())
    return digest.hexdigest()


def _is_special(token: str) -> bool:
    return token not in _PLAIN and not token.startswith(_PLAIN_PREFIXES)


def _transformers_config(added: Mapping[str, int]) -> dict[str, Any]:
    """The content of tokenizer_config.json."""
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


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
