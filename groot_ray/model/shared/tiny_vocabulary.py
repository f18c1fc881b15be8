"""A small byte-level vocabulary, generated here, for models of laptop size.

Its ids are in checkpoints and must not change.
"""

from __future__ import annotations

SIZE = 497
# Words that are single tokens, most useful first; everything else is spelled with their prefixes and with bytes.
_WORDS = (
    "system|You| are| a| helpful| assistant|user|image| the| pick| up| cube|pick| and| put| it| in| into| box| "
    "place|place| on| to| "
    "left| right| arm| hand| gripper| red| green| blue| yellow| transfer|transfer| move|move| from| with| bottle| "
    "cup| open| close|"
    " drawer| table| push| pull| object| ball| grasp| lift| robot| block| stack| plate| bowl| insert| peg| hole| "
    "button| press| "
    "pour| water| turn| handle| fold| shirt| basket| spoon| both| hold| white| black| apple| kitchen"
).split("|")


def tiny_vocabulary() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Tokens by id and merges by rank: 256 bytes, then the prefixes of common words, each one character longer than
    the one before.
    """
    letters = _byte_letters()
    tokens = list(letters)
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        spelled = [letters[byte] for byte in word.encode()]
        for end in range(2, len(spelled) + 1):
            left, right = "".join(spelled[: end - 1]), spelled[end - 1]
            if left + right not in tokens and len(tokens) < SIZE:
                tokens.append(left + right)
                merges.append((left, right))
    assert len(tokens) == SIZE, len(tokens)
    return tuple(tokens), tuple(merges)


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies: itself where it is printable, else one from 256
    upwards.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in visible else next(hidden) for byte in range(256)]
