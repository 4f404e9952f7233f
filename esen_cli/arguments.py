"""Options of a command that stand in a study, as the command line that the command itself reads."""

import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esen.data.readers.frame import parse_slice
from esen.errors import InputError
from esen.recipe.mistakes import nearest
from esen.recipe.shipped import recipe_folder
from esen_cli.output import OptionsAreRight, only_checks

if TYPE_CHECKING:
    from esen.recipe.study import Test
    from esen.study.ablation.cells import CommandLine

Command = Any
"""A command of typer, which has its own copy of click or takes an installed one."""
Parameter = Any
"""An option or argument of a command."""

_OF_STUDY = ("output", "resume", "retry", "track", "also", "beside", "help", "device")
"""Options that a study sets itself, or that would mix variants."""
_FILES = {"FILE", "DATA", "INPUT"}
"""What the help calls files that a command reads."""
_POTENTIAL = ("potential", "potentials")
_STRUCTURES = ("structures", "inputs", "files")
"""Names of the structure files of a command; a user may give any."""


def test_commands(group: Command) -> dict[str, Command]:
    """Return the commands that test a potential and leave their results in a folder, by name."""
    return {
        name: command
        for name, command in group.commands.items()
        if command.params
        and command.params[0].name in _POTENTIAL
        and any(p.name == "output" for p in command.params)
    }


def command_line(
    test: "Test", group: Command, folder: Path, *, others: Sequence[str], need: Callable[[str], None]
) -> "CommandLine":
    """Return the command line of a test of a study.

    Args:
        test: of the study.
        group: all commands.
        folder: that relative paths of files are in; they may also be in the working directory, or come with esen, where
            the name alone is enough: mgo.cif.
        others: structure files of the other tests, for a command that needs some and is given none.
        need: is told of each file that is not there.

    Raises:
        InputError: there is no such command or option, or the value of an option is wrong; with the line of the study.
    """
    from esen.study.ablation.cells import CommandLine

    known = test_commands(group)
    if test.command not in known:
        near = nearest(test.command, list(known))
        hint = f"; did you mean {near}?" if near else ""
        raise InputError(
            f"{test.where}: {test.command!r} is no test{hint} (tests: {', '.join(known)}; give another name to a"
            " test by `command`)"
        )
    command = known[test.command]
    parameters = {name: p for p in command.params[1:] for name in _names(p) if p.name not in _OF_STUDY}
    given = dict(test.options)
    for key in given:
        if key not in parameters:
            raise InputError(f"{test.where}: {_no_option(key, command, parameters)}")
    _fill_structures(given, command, test, others)
    if "allow-direct" in parameters and not {"allow-direct", "allow_direct"} & set(given):
        given["allow-direct"] = True  # a study is there to compare them
    if twice := next(
        (key for key in given if sum(parameters[key] is parameters[k] for k in given) > 1), None
    ):
        raise InputError(f"{test.where}.{twice}: given twice, under two names of one option; leave one out")
    absent: list[str] = []
    options: dict[str, list[str]] = {}
    arguments: list[str] = []
    for key, value in given.items():
        parameter = parameters[key]
        _check_value(parameter, value, test.where, key)
        values = [_file(v, parameter, test.where, folder, absent.append) for v in _listed(value)]
        if _is_argument(parameter):
            arguments += values
        else:
            options[key] = _option(parameter, value, values)
    for line in absent:
        need(line)
    if mistakes := list(_mistakes(command, options, arguments, read=not absent)):
        raise InputError(*(f"{test.where}: {mistake}" for mistake in mistakes))
    names = {parameter.name for parameter in command.params}
    every = tuple(part for parts in options.values() for part in parts)
    return CommandLine(test.command, every, tuple(arguments), "resume" in names, "retry" in names)


def _mistakes(
    command: Command, options: Mapping[str, Sequence[str]], arguments: Sequence[str], *, read: bool
) -> Iterator[str]:
    """What the command itself says of its options and files: it runs up to where it would compute.

    An option of which it complains is left out, so that it says what is wrong with the others.

    Args:
        command: of the test.
        options: words of the command line, by option.
        arguments: files after the potential.
        read: whether all files are there, so that the command can check them together with the options.
    """
    left = dict(options)
    while (mistake := _mistake(command, left, arguments, read=read)) is not None:
        yield mistake
        named = [key for key, words in left.items() if words and re.search(rf"{words[0]}(?![\w-])", mistake)]
        if not named or named[0] in _STRUCTURES:
            return
        del left[named[0]]


def _mistake(
    command: Command, options: Mapping[str, Sequence[str]], arguments: Sequence[str], *, read: bool
) -> str | None:
    """The first mistake that the command finds; None if there is none."""
    words = [word for parts in options.values() for word in parts]
    try:
        with command.make_context(command.name, [*words, "--", "POTENTIAL", *arguments]) as context:
            if read:
                with only_checks():
                    command.invoke(context)
    except OptionsAreRight:
        return None
    except InputError as error:
        return str(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one about the arguments
            raise
        return str(error.format_message())
    return None


def structure_files(options: Mapping[str, Any]) -> list[str]:
    """Return the structure files that a test names."""
    return [str(v) for key in _STRUCTURES if key in options for v in _listed(options[key])]


def _fill_structures(given: dict[str, Any], command: Command, test: "Test", others: Sequence[str]) -> None:
    """Give the study's structures to a command that takes some and is given none."""
    takes = next((p for p in command.params if p.name in _STRUCTURES), None)
    if takes is None or set(_STRUCTURES) & set(given) or "protocol" in given:
        return
    files = test.structures or (others if takes.required else ())
    if files:
        given[str(takes.name)] = list(files)


def _names(parameter: Parameter) -> Iterator[str]:
    """The names by which a user may call a parameter."""
    yield str(parameter.name)
    if parameter.name in _STRUCTURES:
        yield from _STRUCTURES
    yield from (name.lstrip("-") for name in parameter.opts if name.startswith("--"))


def _no_option(key: str, command: Command, parameters: Mapping[str, Parameter]) -> str:
    if key in _OF_STUDY:
        return f"{key}: the study sets this option of {command.name} itself; leave it out"
    shown = sorted({str(p.name).replace("_", "-") for p in parameters.values()})
    near = nearest(key, list(parameters))
    hint = f"did you mean {near!r}? " if near else ""
    return f"{key}: {command.name} has no such option; {hint}(options: {', '.join(shown)})"


def _is_argument(parameter: Parameter) -> bool:
    return bool(parameter.param_type_name == "argument")


def _words(parameter: Parameter) -> str:
    return str(parameter.metavar or "").strip("[].")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_value(parameter: Parameter, value: Any, where: str, key: str) -> None:
    """Refuse a value of the wrong kind, and a text that the command would refuse when the training is done.

    Raises:
        InputError: it is one of these.
    """
    if not _is_argument(parameter) and parameter.is_flag:
        if not isinstance(value, bool):
            raise InputError(f"{where}.{key}: given {json.dumps(value)}, expected true or false")
        return
    values = _listed(value)
    kind = "name of a file" if _words(parameter) in _FILES else "value"
    expected: tuple[type, ...] = (str,) if _words(parameter) in _FILES else (str, int, float)
    if not values or not all(isinstance(v, expected) and not isinstance(v, bool) and v != "" for v in values):
        raise InputError(f"{where}.{key}: given {json.dumps(value)}, expected a {kind} or a list of such")
    text = ",".join(map(str, values))
    if parameter.metavar in _READERS:
        try:
            _READERS[parameter.metavar](text)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _read_laws(text: str) -> object:
    from esen.evaluate.laws.run import choose_laws

    return choose_laws([name.strip() for name in text.split(",")])


_READERS: dict[str, Callable[[str], object]] = {
    "SLICE": parse_slice,
    "LAW,LAW,...": _read_laws,
}
"""By the word for a value in the help, what reads a value that its command checks only when it computes."""


def _option(parameter: Parameter, value: Any, values: Sequence[Any]) -> list[str]:
    """An option with its value, as a user would type it."""
    name = next(name for name in parameter.opts if name.startswith("--"))
    if parameter.is_flag:
        if value:
            return [name]
        return list(parameter.secondary_opts[:1])
    texts = [str(v) for v in values]
    if parameter.multiple:
        return [part for text in texts for part in (name, text)]
    return [name, ",".join(texts)]


def _file(value: Any, parameter: Parameter, where: str, folder: Path, need: Callable[[str], None]) -> Any:
    """The absolute path of a file of the study, of the working directory, or of esen."""
    is_folder = _words(parameter) == "FOLDER" and not _is_argument(parameter)
    if not isinstance(value, str) or not (_words(parameter) in _FILES or is_folder):
        return str(value) if _is_argument(parameter) else value
    shipped = recipe_folder()
    places = (folder, Path(), shipped, *sorted((shipped / "data").glob("*/")))
    path = os.path.expanduser(value)  # noqa: PTH111  # Path.expanduser raises where there is no such user
    for place in places:
        found = place.absolute() / path
        try:
            if found.exists() or glob.glob(str(found), recursive=True):  # noqa: PTH207  # an absolute pattern
                return str(found)
        except (OSError, ValueError):  # a name that is too long, or has a null byte
            break
    need(f"{where}: {value}: no such file beside the study, in the working directory, or among those of esen")
    return str(folder.absolute() / path)
