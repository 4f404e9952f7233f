"""Several potentials that a user names in one call."""

from collections.abc import Collection, Sequence

from esen.errors import InputError
from esen.study.names import labelled
from esen.study.potentials import PotentialOptions, Resolved, is_checkpoint, resolve_potential


def resolve_all(
    potentials: Sequence[str], how: PotentialOptions, only: Collection[str] | None = None
) -> dict[str, Resolved]:
    """All potentials, by what they are called. Arguments `NAME:KEY=VALUE` are for the one of that name alone.

    Args:
        potentials: each as `resolve_potential` takes it.
        how: of `resolve_potential`.
        only: those that are wanted; None: all.

    Raises:
        InputError: one cannot be had, no potential has such a name, or an option is for none of them.
    """
    named = labelled(potentials)
    checkpoints = [is_checkpoint(text) for text in potentials]
    if how.get("dtype") and not any(checkpoints):
        raise InputError(f"--dtype {how.get('dtype')}: is for checkpoints, and none is given")
    if how.get("calculator_args") and all(checkpoints):
        raise InputError("--calculator-args: are for emt, lj and factories, and none is given")
    arguments = scoped(how.get("calculator_args", ()))
    for scope, argument in arguments:
        if scope and scope not in named:
            raise InputError(
                f"--calculator-args {argument}: no potential is called {scope!r}; expected {', '.join(named)}"
            )
    resolved = {}
    for label, text in named.items():
        mine = how.copy()
        mine["calculator_args"] = [a.removeprefix(f"{s}:") for s, a in arguments if s in ("", label)]
        if is_checkpoint(text):
            if any(scope == label for scope, _ in arguments):
                raise InputError(f"--calculator-args {label}:…: {text} is a checkpoint, which takes none")
            mine["calculator_args"] = ()
            mine["dtype"] = how.get("dtype") or "float64"
        else:
            mine["dtype"] = None
        if only is None or label in only:
            resolved[label] = resolve_potential(text, **mine)
    return resolved


def scoped(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Each argument after the name of the potential that it is for; empty: for all."""
    return [(_scope(argument), argument) for argument in arguments]


def _scope(argument: str) -> str:
    """The name before the key, if there is one.

    >>> _scope("emt:asap_cutoff=True"), _scope("path=C:/x")
    ('emt', '')
    """
    return argument.partition("=")[0].rpartition(":")[0]
