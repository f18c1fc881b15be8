"""Rules for strings, checked by pydantic and by the JSON schema, with the same message in both.

For a schema violation, Helm prints only the keyword and its value: "does not match pattern '...'", "'not' failed". It
prints a constant unchanged ("value must be '...'"), so these rules carry their message as a constant. Python and Helm
then reject the same strings in the same words. Neither prints the string, which may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from groot_ray.schema_errors import REFUSED


def refused(sentence: str) -> PydanticCustomError:
    """The error of a rule. Braces in the message are plain text, not placeholders."""
    return PydanticCustomError(REFUSED, "{sentence}", {"sentence": sentence})


@dataclass(frozen=True)
class Never:
    """Reject a text that matches `pattern`: it must be `instead`.

    Python, Go (Helm) and editors (ECMAScript) read the pattern, so it has no look-around and no flags.
    """

    pattern: str
    instead: str

    def check(self, text: str) -> str:
        """Return `text` unless it matches."""
        if re.search(self.pattern, text):
            raise refused(f"must be {self.instead}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return both(handler(schema), {"if": {"pattern": self.pattern}, "then": {"const": self.instead}})


@dataclass(frozen=True)
class Only:
    """Reject a text that does not match `pattern`: it must be `instead`. For patterns that are not self-explanatory."""

    pattern: str
    instead: str

    def check(self, text: str) -> str:
        """Return `text` if it matches."""
        if not re.search(self.pattern, text):
            raise refused(f"must be {self.instead}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return both(handler(schema), {"if": {"pattern": self.pattern}, "else": {"const": self.instead}})


@dataclass(frozen=True)
class Under:
    """Apply `rule` to the values under some `names` of a mapping of texts."""

    names: tuple[str, ...]
    rule: Never

    def check(self, texts: dict[str, str]) -> dict[str, str]:
        """Return `texts` unless one of these values breaks the rule."""
        for name in self.names:
            if re.search(self.rule.pattern, texts.get(name, "")):
                raise refused(f"{name} must be {self.rule.instead}")
        return texts

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = {"if": {"pattern": self.rule.pattern}, "then": {"const": self.rule.instead}}
        return {**handler(schema), "properties": dict.fromkeys(self.names, rule)}


@dataclass(frozen=True)
class OneOf:
    """Reject a text that is not one of `names`, with the message of `explain`."""

    names: tuple[str, ...]
    explain: Callable[[str], str]

    def check(self, text: str) -> str:
        """Return `text` if it is one of the names."""
        if text not in self.names:
            raise refused(self.explain(text))
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.names)}


def both(schema: JsonSchemaValue, rule: dict[str, Any]) -> JsonSchemaValue:
    """A schema with one more rule. A schema has one `if`, so a second rule goes into `allOf`."""
    if "if" not in schema:
        return {**schema, **rule}
    return {**schema, "allOf": [*schema.get("allOf", []), rule]}


def any_case(word: str) -> str:
    """A pattern for a word in upper or lower case, since patterns of a JSON schema have no flags."""
    return "".join(f"[{letter}{letter.lower()}]" if letter.isalpha() else letter for letter in word)
