"""Reads YAML 1.2: `1e-4` is a number, `yes` and `on` are text, and a repeated key is an error."""

from __future__ import annotations

from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.input_limits import DEPTH, DOCUMENT_VALUES, check_size, check_values


def parse_yaml(text: str, origin: str, needs: str = "experiment") -> dict[str, Any]:
    """Parse YAML text that holds a mapping.

    Args:
        origin: the file or flag, for errors.
        needs: a required key, named in the error about text that is not a mapping; not checked.

    Raises:
        ConfigurationError: not YAML, a repeated key, not a mapping, or beyond `input_limits`; the message names the
            line where it can.
    """
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    check_size(len(text.encode("utf-8", "surrogatepass")), origin, ConfigurationError)
    try:
        data = _reader().load(text)
    except DuplicateKeyError as error:
        key = str(error.problem).partition('"')[2].partition('"')[0]
        raise ConfigurationError(f"{origin}, {_line(error)}: key {key!r} is given twice; remove one of them") from None
    except MaxDepthExceededError as error:
        raise ConfigurationError(
            f"{origin}, {_line(error)}: nested more than {DEPTH} levels deep; make it flatter"
        ) from None
    except MarkedYAMLError as error:
        raise ConfigurationError(f"{origin}, {_line(error)}: not valid YAML ({error.problem})") from None
    except (YAMLError, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigurationError(
            f"{origin} is not valid YAML: {' '.join(str(error).partition(';')[0].split())}"
        ) from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{origin} is empty or not a mapping; it needs at least the key {needs!r}")
    check_values(data, origin, ConfigurationError)
    return data


def _reader() -> Any:
    """A reader of one document that checks its size before it makes values of it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer

    class Bounded(Composer):
        def get_single_node(self) -> Any:
            node = super().get_single_node()
            if node is not None:
                _check_expanded(node)
            return node

    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEPTH
    yaml.Composer = Bounded
    return yaml


def _check_expanded(root: Any) -> None:
    """Raise ValueError if there are too many values once each alias is replaced, or if an alias contains itself."""
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any) -> int:
        name = id(node)
        if name in open_nodes:
            raise ValueError("an alias stands for something that contains it")
        if name not in sizes:
            open_nodes.add(name)
            inner = [item for pair in node.value for item in pair] if isinstance(node, MappingNode) else node.value
            sizes[name] = 1 + (sum(map(size, inner)) if isinstance(node, MappingNode | SequenceNode) else 0)
            open_nodes.discard(name)
        return sizes[name]

    if size(root) > DOCUMENT_VALUES:
        raise ValueError(f"it has more than {DOCUMENT_VALUES:,} values once its aliases are replaced")


def _line(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}" if mark is not None else "somewhere"
