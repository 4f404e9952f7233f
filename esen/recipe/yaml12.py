"""YAML as a person means it: the core schema of YAML 1.2, line numbers, and no key twice.

PyYAML follows YAML 1.1, in which `1e-4` is text, `on` is true, `010` is eight and `12:30` is 750. Here a
scalar is a number, true/false or null exactly where YAML 1.2 (section 10.3.2) says so; all else is text.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from esen.errors import InputError

KeyPath = tuple[str | int, ...]
"""Where a value stands in a document: `("data", "train", 0, "path")`."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")

_DEEPEST = 100
"""Lists or sections in each other."""

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = {  # with the characters each may begin with; an int looks like a float too, so the order decides
    "null": (_NULL, ["~", "n", "N", ""]),
    "bool": (_BOOL, list("tTfF")),
    "int": (_INT, list("-+0123456789")),
    "float": (re.compile(f"{_FLOAT.pattern}|{_NOT_FINITE.pattern}"), list("-+.0123456789")),
}
_TAGS = {_PREFIX + name for name in (*_SCALARS, "str", "seq", "map", "merge")}

_HINTS = (
    ("\\t", "indent with spaces, not tabs"),
    ("alias", "put quotes around text that begins with *"),
    ("anchor", "put quotes around text that begins with &"),
    ("cannot start any token", "put quotes around text that begins with this character"),
    ("mapping values are not allowed", "put quotes around text that holds a colon, and indent evenly"),
    ("single document", "write one recipe a file, without a second ---"),
    ("expected <block end>", "the indentation does not fit the lines above"),
)


class _Loader(yaml.SafeLoader):
    """Scalars by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own name and type; not those of 1.1

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML, to a depth that no recipe has: how deep Python itself goes depends on what was imported.

        Raises:
            RecursionError: it lies deeper.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_plain(self, node: yaml.ScalarNode) -> bool | int | float:
        """The number, true or false that a scalar stands for."""
        text = node.value
        try:
            return text.lower() == "true" if _BOOL.fullmatch(text) else read_number(text)
        except ValueError as error:  # more digits than Python reads, or a tag that forces it: `!!int x`
            problem = f"cannot read {_short(text)!r} as {node.tag.removeprefix(_PREFIX)}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


class _Dumper(yaml.SafeDumper):
    """Writes what both YAML 1.1 and 1.2 read back as the same value."""

    def ignore_aliases(self, data: Any) -> bool:
        """Equal sections are written out, each at its place."""
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Text with line breaks or other control characters is escaped: YAML would fold them."""
        return self.represent_scalar(_PREFIX + "str", data, style=None if data.isprintable() else '"')


_Dumper.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeDumper.yaml_implicit_resolvers.items()}
_Dumper.add_representer(str, _Dumper.represent_text)
for _name, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_PREFIX + _name, re.compile(f"^(?:{_pattern.pattern})$"), _first)
_Loader.add_implicit_resolver(_PREFIX + "merge", re.compile("^<<$"), ["<"])
for _name in ("bool", "int", "float"):
    _Loader.add_constructor(_PREFIX + _name, _Loader.construct_plain)


def read_number(text: str) -> int | float:
    """The int or float that `text` stands for in YAML 1.2.

    Raises:
        ValueError: it is no number.

    >>> read_number("1e-4"), read_number("010"), read_number("1.E3")
    (0.0001, 10, 1000.0)
    """
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    raise ValueError(f"{text!r} is not a number")


@dataclass(frozen=True, eq=False)
class Document:
    """A YAML file: its value, and where each part of it stands."""

    value: Any
    node: yaml.Node | None

    def find(self, path: KeyPath) -> tuple[int, yaml.Node | None]:
        """How many parts of `path` the file holds, and the node of the last: a key, or a list's entry."""
        node, mark = self.node, self.node
        for depth, part in enumerate(path):
            pair = _child(node, part)
            if pair is None:
                return depth, mark
            mark, node = pair
        return len(path), mark

    def position(self, path: KeyPath) -> tuple[int, int]:
        """Line and column, from 1, of the key at `path`, or of the nearest section around it."""
        _, mark = self.find(path)
        return (mark.start_mark.line + 1, mark.start_mark.column + 1) if mark is not None else (1, 1)

    def holds(self, path: KeyPath) -> bool:
        """Whether the file itself has something at `path`."""
        return self.find(path)[0] == len(path)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The key (or the entry) and the value at `part` of a mapping (or a list)."""
    if isinstance(node, yaml.MappingNode):
        # what a merge key brought stands before the section's own keys, which win
        found = (pair for pair in reversed(node.value) if pair[0].value == part)
        return next(found, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part], node.value[part]
    return None


def parse_document(text: str, name: str) -> Document:
    """Parse a YAML file.

    Args:
        text: its content.
        name: what the file is called in messages.

    Raises:
        InputError: bad syntax, a key twice, or something a recipe has no use for; with the line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse(node, name)
        return Document(loader.construct_document(node) if node is not None else None, node)
    except yaml.MarkedYAMLError as error:
        raise InputError(_syntax_message(error, name)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"holds the character {chr(error.character)!r}, which no text file has"
        raise InputError(f"{name}:{line}: {problem}; is this a recipe?") from error
    except RecursionError as error:
        raise InputError(
            f"{name}: lists or sections lie too deep in each other; is this a recipe?"
        ) from error


def parse_value(text: str, name: str) -> Any:
    """Parse the value of a `--set`: a list `[…]`, a map `{…}` or quoted text as YAML, all else as one scalar.

    >>> parse_value("1e-4", "x"), parse_value("{kind: bessel}", "x"), parse_value("*.xyz", "x")
    (0.0001, {'kind': 'bessel'}, '*.xyz')
    """
    text = text.strip()
    if text[:1] in {"[", "{", '"', "'"}:
        try:
            return parse_document(text, name).value
        except InputError as error:  # a value has no lines to tell of
            raise InputError(str(error).replace(f"{name}:1: ", f"{name}: ")) from error
    _check_text(text, name)
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    try:
        return read_number(text)
    except ValueError:
        return text


def write_document(value: Any) -> str:
    """YAML that reads back as `value`, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def _refuse(root: yaml.Node, name: str) -> None:
    """Refuse what YAML allows and a recipe has no use for."""
    lines: list[str] = []
    done: set[int] = set()
    above: set[int] = set()

    def visit(node: yaml.Node) -> None:
        where = f"{name}:{node.start_mark.line + 1}"
        if id(node) in above:
            raise InputError(f"{where}: an alias (*) stands inside its own anchor (&); write the section out")
        if id(node) in done:
            return
        done.add(id(node))
        above.add(id(node))
        if node.tag not in _TAGS:
            lines.append(
                f"{where}: the tag {node.tag.replace(_PREFIX, '!!')} has no meaning in a recipe; remove it"
            )
        elif isinstance(node, yaml.ScalarNode):
            _check_text(node.value, where)
        elif isinstance(node, yaml.MappingNode):
            lines.extend(_bad_keys(node, name))
            for _, value in node.value:
                visit(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                visit(value)
        above.remove(id(node))

    visit(root)
    if lines:
        raise InputError("\n".join(lines))


def _bad_keys(node: yaml.MappingNode, name: str) -> list[str]:
    """Keys that stand twice, and keys that are not text."""
    first: dict[Hashable, int] = {}
    lines = []
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in {_PREFIX + "str", _PREFIX + "merge"}:
            given = _short(key.value) if isinstance(key, yaml.ScalarNode) else "a list or section"
            lines.append(f"{name}:{line}: a key must be a word, but here it is {given or 'nothing'}")
        elif key.value in first:
            twice = f"the key {_short(key.value)!r} stands twice; the first is on line {first[key.value]}"
            lines.append(f"{name}:{line}: {twice}")
        else:
            _check_text(key.value, f"{name}:{line}")
            first[key.value] = line
    return lines


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: {_short(ascii(text))} is not valid Unicode text") from error


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _syntax_message(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    problem = " ".join((error.problem or "bad syntax").split())
    context = " ".join((error.context or "").split())
    said = f"{context}, {problem}" if context else problem
    hint = next((f"; {hint}" for word, hint in _HINTS if word in said), "")
    return f"{where}: not valid YAML: {said}{hint}"
