"""YAML documents with the position of every key. Plain scalars follow the core schema of YAML 1.2 (section 10.3.2).

ruamel.yaml parses the text. The values are made here from its nodes, because it reads dates and `1_000` as YAML 1.1
does, and because an alias (`*a`) must not multiply a small file into gigabytes.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from esen.errors import InputError

KeyPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value: `("data", "train", 0, "path")`."""

Scalar = None | bool | int | float | str

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SURPRISE = re.compile(r"[-+.0-9=].*|y|n|yes|no|on|off", re.IGNORECASE)
"""Text that YAML 1.1 may read as a number, a date or a truth value."""

_DEEPEST = 100
"""Nested lists and sections."""
_LONGEST_INT = 1000
"""Digits of a whole number; a longer one is text, because Python does not write it."""
_LARGEST = 100_000
"""Values in a document, counted wherever an alias repeats them."""

_HINTS = {
    "\\t": "indent with spaces, not tabs",
    "alias": "put quotes around text that begins with *",
    "anchor": "put quotes around text that begins with &",
    "cannot start any token": "put quotes around text that begins with this character",
    "mapping values are not allowed": "put quotes around text that holds a colon, and indent evenly",
    "single document": "write one recipe per file, without a second ---",
    "expected <block end>": "the indentation does not fit the lines above",
}


@dataclass(frozen=True, eq=False)
class Document:
    """The content of a YAML file.

    Attributes:
        value: dictionaries, lists and scalars; nothing is shared between two places.
        positions: line and column, from 1, of every key and list entry. The path () is always there.
    """

    value: Any
    positions: dict[KeyPath, tuple[int, int]]

    def position(self, path: KeyPath) -> tuple[int, int]:
        """Line and column of the key at `path`, or of the nearest section around it."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


def parse_document(text: str, name: str) -> Document:
    """Parse a YAML file.

    Args:
        text: its content.
        name: what the file is called in messages.

    Raises:
        InputError: bad syntax, a key that stands twice, or something that a recipe may not contain; with the line.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    yaml.composer.warn_double_anchors = False
    reader = _Reader(name)
    try:
        root = yaml.compose(text)
        return Document(None if root is None else reader.value(root, ()), {(): (1, 1)} | reader.positions)
    except (MaxDepthExceededError, RecursionError):  # RecursionError: a section that merges (<<) itself
        raise InputError(
            f"{name}: lists or sections are nested more than {_DEEPEST} deep, or an alias (*) stands inside"
            " its own anchor (&); is this a recipe?"
        ) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"holds the character {chr(error.character)!r}, which no text file has"
        raise InputError(f"{name}:{line}: {problem}; is this a recipe?") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(f"{error.context or ''}, {error.problem}".strip(" ,").split())
        hint = next((f"; {hint}" for word, hint in _HINTS.items() if word in said), "")
        raise InputError(f"{name}:{mark.line + 1}: not valid YAML: {said}{hint}") from None


def parse_value(text: str, name: str) -> Any:
    """Parse the value of a `--set`: a list `[…]`, a map `{…}` or quoted text as YAML, anything else as one scalar.

    >>> parse_value("1e-4", "x"), parse_value("{kind: bessel}", "x"), parse_value("*.xyz", "x")
    (0.0001, {'kind': 'bessel'}, '*.xyz')
    """
    text = text.strip()
    if text[:1] in {"[", "{", '"', "'"}:
        try:
            return parse_document(text, name).value
        except InputError as error:  # the value has no line that a user could look up
            raise InputError(str(error).replace(f"{name}:1: ", f"{name}: ")) from error
    check_unicode(text, name)
    return plain_scalar(text)


def plain_scalar(text: str) -> Scalar:
    """Convert text without quotes to the null, truth value, number or text that it stands for in YAML 1.2.

    >>> [plain_scalar(text) for text in ("1e-4", "010", "0x1F", "null", "no", "12:30")]
    [0.0001, 10, 31, None, 'no', '12:30']
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) <= _LONGEST_INT else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def write_document(value: Any) -> str:
    """Write YAML that reads back as `value`; keys keep their order, and text is text in YAML 1.1 too."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # annotated as None
    yaml.width = 10_000
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def check_unicode(text: str, where: str) -> None:
    """Refuse a lone surrogate, which no file can hold.

    Raises:
        InputError: there is one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: {cut(ascii(text))} is not valid Unicode text") from None


def cut(text: str, width: int = 60) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= width else text[: width - 1] + "…"


class _Representer(SafeRepresenter):
    """Writes equal sections out at each place, and quotes text that a reader could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is written as an alias."""
        return True

    def represent_text(self, data: str) -> Any:
        """Quote surprises; escape line breaks and other control characters, which YAML would fold."""
        safe = data.isprintable() and not _SURPRISE.fullmatch(data)
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if safe else '"')


_Representer.add_representer(str, _Representer.represent_text)


class _Reader:
    """Makes plain values of nodes and collects their positions.

    Args:
        name: what the file is called in messages.
    """

    def __init__(self, name: str) -> None:
        self.positions: dict[KeyPath, tuple[int, int]] = {}
        self._name = name
        self._size = 0

    def value(self, node: Node, path: KeyPath) -> Any:
        """Convert a node and everything below it."""
        self._count()
        if len(path) > _DEEPEST:
            raise RecursionError
        self.positions.setdefault(path, _position(node))
        if node.ctag.handle is not None:
            tag = f"{node.ctag.handle}{node.ctag.suffix}"
            raise InputError(f"{self._where(node)}: the tag {tag} has no meaning in a recipe; remove it")
        if isinstance(node, ScalarNode):
            check_unicode(node.value, self._where(node))
            return node.value if node.style else plain_scalar(node.value)
        if isinstance(node, SequenceNode):
            return [self.value(entry, (*path, index)) for index, entry in enumerate(node.value)]
        pairs = self._pairs(node)
        self.positions.update(((*path, key), _position(at)) for key, (at, _) in pairs.items())
        return {key: self.value(value, (*path, key)) for key, (_, value) in pairs.items()}

    def _pairs(self, node: Node) -> dict[str, tuple[Node, Node]]:
        """The nodes of keys and values by key. The section's own keys replace those that `<<` merges into it."""
        merged: dict[str, tuple[Node, Node]] = {}
        own: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            self._count()
            word = self.value(key, ()) if isinstance(key, ScalarNode) else key
            if not isinstance(word, str):
                given = key.value or "nothing" if isinstance(key, ScalarNode) else "a list or section"
                raise InputError(f"{self._where(key)}: a key must be a word, but here it is {given}")
            if word in own:
                twice = (
                    f"the key {cut(word)!r} stands twice; the first is on line {_position(own[word][0])[0]}"
                )
                raise InputError(f"{self._where(key)}: {twice}")
            if word == "<<" and not key.style:
                sources = value.value if isinstance(value, SequenceNode) else [value]
                for source in reversed([one for one in sources if isinstance(one, MappingNode)]):
                    merged |= self._pairs(source)
            else:
                own[word] = (key, value)
        return merged | own

    def _where(self, node: Node) -> str:
        return f"{self._name}:{_position(node)[0]}"

    def _count(self) -> None:
        self._size += 1
        if self._size > _LARGEST:
            raise InputError(
                f"{self._name}: the document has more than {_LARGEST:,} values, counting what aliases (*) repeat"
            )


def _position(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
