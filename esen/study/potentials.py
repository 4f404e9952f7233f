"""What a user calls a potential: a checkpoint, `emt`, `lj`, or `module:factory`."""

import importlib
import os
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from esen.errors import InputError, typed_line
from esen.evaluate.relax import forget_failure
from esen.graph.types import Graph, Potential, Prediction
from esen.md.calculator import AsePotential, choose_device, choose_dtype, find_weights
from esen.models.checkpoint import load_potential
from esen.models.potential import EsenPotential
from esen.recipe.mistakes import nearest
from esen.recipe.yaml12 import parse_value

METALS = (13, 28, 29, 46, 47, 78, 79)
"""Al Ni Cu Pd Ag Pt Au: what `emt` was made for. It also computes H, C, N and O, but not to be believed."""
ARGON = {"sigma": 3.405, "epsilon": 0.01032, "rc": 8.5, "smooth": True}
"""`lj` as it is: argon, in Å and eV, faded out between 0.66 rc and rc."""

_ANYTHING = (Exception, SystemExit)
"""What the code of others may raise: scripts end with SystemExit, which would end this program without a word."""


class PotentialOptions(TypedDict, total=False):
    """The options of `resolve_potential`."""

    calculator_args: Sequence[str]
    dtype: Literal["float32", "float64"] | None
    device: str


@dataclass(frozen=True, eq=False)
class Resolved:
    """A potential, and what is known of it.

    Attributes:
        text: as the user gave it.
        potential: ready to predict.
        device: where it is.
        precision: `float32`, `float64`, or `its own` for an ASE calculator.
        elements: atomic numbers that it knows; None: not known.
        calculator: behind the potential, where there is one.
    """

    text: str
    potential: Potential
    device: str
    precision: str
    elements: tuple[int, ...] | None = None
    calculator: Any = None

    @property
    def direct(self) -> bool:
        """Whether its forces come from a head of their own, and are no gradient."""
        return isinstance(self.potential, EsenPotential) and self.potential.direct is not None

    @property
    def possible_elements(self) -> tuple[int, ...] | None:
        """Atomic numbers it was made for, else those that its network has a place for; None: not known."""
        if self.elements or not isinstance(self.potential, EsenPotential):
            return self.elements
        return tuple(range(1, self.potential.spec.max_elements))

    @property
    def differentiable(self) -> Potential | None:
        """A copy whose forces can be differentiated by the positions; None where that is not possible."""
        if not isinstance(self.potential, EsenPotential):
            return None
        return deepcopy(self.potential).requires_grad_(False).train()

    @property
    def rounded(self) -> Potential | None:
        """A copy in float32 of a checkpoint that is in float64."""
        if not isinstance(self.potential, EsenPotential) or self.precision != "float64":
            return None
        return deepcopy(self.potential).float()


class CheckedCalculator(AsePotential):
    """An ASE calculator whose errors are one line."""

    def __call__(self, graph: Graph) -> Prediction:
        """As `AsePotential`.

        Raises:
            InputError: the calculator raised anything.
        """
        try:
            return super().__call__(graph)
        except InputError:
            raise
        except _ANYTHING as error:
            name = type(self.calculator).__name__
            forget_failure(self.calculator)
            raise InputError(f"the calculator {name} raised {typed_line(error)}") from error


def resolve_potential(
    text: str,
    *,
    calculator_args: Sequence[str] = (),
    dtype: Literal["float32", "float64"] | None = None,
    device: str = "auto",
) -> Resolved:
    """The potential that the user means.

    Args:
        text: a checkpoint (.safetensors), a run's folder, `emt`, `lj`, or `module:factory`. A factory is called with
            the arguments; it gives an ASE calculator or a `Potential`. Modules of the working directory are found.
        calculator_args: `KEY=VALUE`, for `emt`, `lj` and factories.
        dtype: of a checkpoint; None: as it was trained.
        device: of a checkpoint; `auto`: the GPU if there is one.

    Raises:
        InputError: it is none of these, or cannot be loaded or made.
    """
    arguments = parse_arguments(calculator_args)
    if text in ("emt", "lj"):
        _refuse(dtype is not None, f"--dtype {dtype}: is for checkpoints; {text} computes in float64")
        return _of_ase(text, arguments)
    if not is_checkpoint(text):
        _refuse(
            dtype is not None, f"--dtype {dtype}: is for checkpoints; give the factory's own option instead"
        )
        return _of_factory(text, arguments)
    _refuse(
        bool(arguments), f"--calculator-args: {text} is a checkpoint, which takes none; use --dtype, --device"
    )
    if not Path(text).exists() and not text.endswith(".safetensors"):
        raise InputError(
            f"{text}: no such file; expected a checkpoint (.safetensors), a run's folder, emt, lj, or module:factory"
        )
    place = choose_device(device)
    potential = load_potential(find_weights(Path(text)), dtype=choose_dtype(dtype), device=place)
    single = next(potential.parameters()).dtype == torch.float32
    return Resolved(text, potential, place, "float32" if single else "float64", potential.elements)


def is_checkpoint(text: str) -> bool:
    """Whether it names a file or a folder, rather than `emt`, `lj` or `module:factory`."""
    if text in ("emt", "lj"):
        return False
    return ":" not in text or text.endswith(".safetensors") or Path(text).exists()


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments; values as in a recipe.

    Raises:
        InputError: there is no `=` or no key, or a key is given twice.

    >>> parse_arguments(["rc=8.0", "smooth=false", "model=small"])
    {'rc': 8.0, 'smooth': False, 'model': 'small'}
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--calculator-args {text}: expected KEY=VALUE, such as rc=8.0")
        if key in arguments:
            raise InputError(f"--calculator-args {text}: {key} is given twice")
        arguments[key] = parse_value(value, f"--calculator-args {text}")
    return arguments


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise InputError(why)


def _of_ase(text: str, arguments: dict[str, Any]) -> Resolved:
    factory: type[EMT] | type[LennardJones] = EMT if text == "emt" else LennardJones
    _check_keys(text, arguments, list(factory.default_parameters))
    given = arguments if text == "emt" else ARGON | arguments
    calculator = _made(text, factory, given)
    elements = METALS if text == "emt" else (18,)
    return Resolved(text, CheckedCalculator(calculator), "cpu", "its own", elements, calculator)


def _check_keys(text: str, arguments: dict[str, Any], known: list[str]) -> None:
    """ASE's calculators take any keyword, and do nothing with those that they do not know."""
    for key in arguments:
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise InputError(f"--calculator-args {key}: {text} takes {', '.join(known)}{hint}")


def _of_factory(text: str, arguments: dict[str, Any]) -> Resolved:
    module_name, _, attribute = text.partition(":")
    made = _made(text, _attribute(text, _module(text, module_name), attribute), arguments)
    if isinstance(made, BaseCalculator):
        return Resolved(text, CheckedCalculator(made), "cpu", "its own", None, made)
    if isinstance(made, Potential):
        return Resolved(text, made, "cpu", "its own")
    raise InputError(f"{text}: gives a {type(made).__name__}, expected an ASE calculator")


def _module(text: str, name: str) -> Any:
    here = os.getcwd()  # noqa: PTH109  # for sys.path
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"{text}: there is no module {error.name!r}; is its package installed here?"
            ) from error
        raise InputError(f"{text}: importing {name} needs {error.name!r}, which is not installed") from error
    except _ANYTHING as error:
        raise InputError(f"{text}: importing {name} raised {typed_line(error)}") from error


def _attribute(text: str, module: Any, attribute: str) -> Any:
    found = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InputError(f"{text}: {module.__name__} has no {attribute!r}")
        found = getattr(found, name)
    return found


def _made(text: str, factory: Any, arguments: dict[str, Any]) -> Any:
    if not callable(factory) or isinstance(factory, BaseCalculator):
        _refuse(bool(arguments), f"--calculator-args: {text} is no factory, so it takes none")
        return factory
    try:
        return factory(**arguments)
    except _ANYTHING as error:
        raise InputError(f"{text}: making it raised {typed_line(error)}") from error
