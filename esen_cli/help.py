"""The help of all commands: as wide as the terminal, with the options of a panel under one heading."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from esen_cli.options import DEVICE, LABELS, OUTPUT, POTENTIALS, PROTOCOL, RELAXATION, STRUCTURES, TRACKING

_ARGUMENTS, _OPTIONS = "Arguments", "Options"
_FIRST = (_ARGUMENTS, POTENTIALS, STRUCTURES, LABELS, PROTOCOL, RELAXATION)
_LAST = (DEVICE, OUTPUT, TRACKING, _OPTIONS)


class PanelCommand(TyperCommand):
    """A command whose help lists options by their `rich_help_panel`, with the panels in the same order everywhere.

    Typer itself shows panels only where Rich formats the help. Importing Rich would double the time that help takes,
    and Rich would read `[default: new]` as markup.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the panels, and then the options that have no panel."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in _FIRST}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:  # hidden
                continue
            if parameter.param_type_name == "argument":
                name = parameter.metavar or parameter.name.upper()
                panels[_ARGUMENTS].append((name if parameter.nargs == 1 else f"{name}...", record[1]))
            else:
                panel = getattr(parameter, "rich_help_panel", None) or _OPTIONS
                panels.setdefault(panel, []).append(record)
        for panel in (*(panel for panel in panels if panel not in _LAST), *_LAST):
            if records := panels.get(panel):
                with formatter.section(panel):
                    formatter.write_dl(records)


class HelpfulApp(typer.Typer):
    """A Typer app whose commands are `PanelCommand`s.

    Args:
        description: what the commands of the app do, in one sentence.
        group: the class of the group of commands.
        completion: whether the app can install completion for the user's shell.
    """

    def __init__(
        self, description: str, *, group: type[TyperGroup] = TyperGroup, completion: bool = False
    ) -> None:
        super().__init__(
            cls=group,
            help=description,
            no_args_is_help=True,
            add_completion=completion,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"max_content_width": 10_000},  # no more than the terminal's width in any case
        )

    def command(
        self, name: str | None = None, **options: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a function as a command, as `typer.Typer.command` does."""
        return super().command(name, cls=PanelCommand, **options)
