"""What a user calls a potential: a checkpoint, a run's folder, `emt`, `lj`, or `module:factory`.

`resolve_potential` turns one such text into a potential that predicts; `resolve_all` does so for several, under short
distinct labels. `potential_sources` identifies them for manifests and `result.json`.
"""

import hashlib
import importlib
import os
import sys
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from esen.errors import InputError, typed_line
from esen.evaluate.relax import forget_failure
from esen.files import sha256_of
from esen.graph.types import Graph, Potential, Prediction
from esen.md.calculator import AsePotential, choose_device, choose_dtype, find_weights
from esen.models.captured import captured
from esen.models.checkpoint import load_potential
from esen.models.potential import EsenPotential
from esen.recipe.document import parse_value
from esen.recipe.mistakes import nearest
from esen.recipe.train import MemoryMode
from esen.threads import SharedCores

Dtype = Literal["float32", "float64"]

_LONGEST_NAME = 160
"""Bytes of the name of a file, without suffixes and what a temporary file adds."""

METALS = (13, 28, 29, 46, 47, 78, 79)
"""Al Ni Cu Pd Ag Pt Au: the elements that `emt` was fitted to. Its values for H, C, N and O are not physical."""
ARGON = {"sigma": 3.405, "epsilon": 0.01032, "rc": 8.5, "smooth": True}
"""Parameters of `lj`: argon, in Å and eV, switched off smoothly between 0.66 rc and rc."""

_BUILT_IN: dict[str, tuple[Any, dict[str, Any], tuple[int, ...] | None]] = {
    "emt": (EMT, {}, METALS),
    "lj": (LennardJones, ARGON, (18,)),
}
_ANY_ERROR = (Exception, SystemExit)
"""What foreign code may raise. A script that calls `sys.exit` would otherwise end this program without a message."""


class PotentialOptions(TypedDict, total=False):
    """The keyword arguments of `resolve_potential`."""

    calculator_args: Sequence[str]
    dtype: Dtype | None
    device: str
    memory: MemoryMode


@dataclass(frozen=True, eq=False)
class Resolved:
    """A potential that is ready to predict, with what is known about it.

    Attributes:
        text: What the user typed.
        potential: The potential, on `device`.
        device: `cpu`, `cuda`, ….
        precision: `float32` or `float64`; `its own` for a potential that is no checkpoint.
        elements: Atomic numbers that the potential was made for; None if they are not known.
        calculator: The ASE calculator behind the potential; None for checkpoints and other graph potentials.
    """

    text: str
    potential: Potential
    device: str = "cpu"
    precision: Literal["float32", "float64", "its own"] = "its own"
    elements: tuple[int, ...] | None = None
    calculator: Any = None

    @property
    def dtype(self) -> Dtype | None:
        """Precision of a checkpoint; None for any other potential."""
        return None if self.precision == "its own" else self.precision

    @property
    def direct(self) -> bool:
        """Whether the forces come from a head of their own instead of the energy's gradient."""
        return isinstance(self.potential, EsenPotential) and self.potential.direct is not None

    @property
    def stateful(self) -> bool:
        """Whether the potential keeps something between calls: a neighbour list, or a generator of random frames."""
        random = isinstance(self.potential, EsenPotential) and self.potential.is_random
        return self.calculator is not None or random

    @property
    def possible_elements(self) -> tuple[int, ...] | None:
        """`elements`, or else all atomic numbers that the network can embed; None if neither is known."""
        if self.elements or not isinstance(self.potential, EsenPotential):
            return self.elements
        return tuple(range(1, self.potential.spec.max_elements))

    @property
    def differentiable(self) -> Potential | None:
        """A copy whose forces can be differentiated with respect to positions; None if that is not possible."""
        if not isinstance(self.potential, EsenPotential):
            return None
        return deepcopy(self.potential).requires_grad_(False).train()

    @cached_property
    def for_dynamics(self) -> Potential:
        """The potential for many predictions of the same atoms, on a GPU as one CUDA graph where that is possible.

        All batches of a run share it, and so the memory of its graphs.
        """
        return captured(self.potential) if isinstance(self.potential, EsenPotential) else self.potential

    @property
    def rounded(self) -> Potential | None:
        """A float32 copy of a checkpoint that is loaded in float64; None for any other potential."""
        if not isinstance(self.potential, EsenPotential) or self.precision != "float64":
            return None
        return deepcopy(self.potential).float()


@dataclass(frozen=True)
class PotentialSource:
    """What identifies a potential in manifests and in `result.json`.

    Attributes:
        label: Short name, distinct within a run.
        given: What the user typed.
        arguments: `KEY=VALUE` for the factory; empty for a checkpoint.
        dtype: Precision of a checkpoint; None if it is that of the weights, or the potential is no checkpoint.
        path: Weights file of a checkpoint.
        sha256: Hash of the weights file, 64 hexadecimal digits.
    """

    label: str
    given: str
    arguments: tuple[str, ...] = ()
    dtype: Dtype | None = None
    path: Path | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        words = [*filter(None, [self.dtype]), *self.arguments]
        if self.sha256:
            words.append(f"sha256 {self.sha256[:12]}")
        return f"{self.given} ({', '.join(words)})" if words else self.given


class CheckedCalculator(AsePotential):
    """An ASE calculator as a potential, whose errors are reported in one line.

    Args:
        calculator: The calculator.
    """

    def __init__(self, calculator: BaseCalculator) -> None:
        super().__init__(calculator)
        self._cores = SharedCores()

    def __call__(self, graph: Graph) -> Prediction:
        """Predict as `AsePotential` does.

        Raises:
            InputError: The calculator raised an error. Its cached results are dropped.
        """
        self._cores.update()
        try:
            return super().__call__(graph)
        except InputError:
            raise
        except _ANY_ERROR as error:
            name = type(self.calculator).__name__
            forget_failure(self.calculator)
            raise InputError(f"the calculator {name} raised {typed_line(error)}") from error


class CheckedPotential:
    """A foreign potential of graphs, whose errors are reported in one line.

    Args:
        potential: The potential.
    """

    def __init__(self, potential: Potential) -> None:
        self.cutoff, self.backend = potential.cutoff, potential.backend
        self._potential = potential

    def __call__(self, graph: Graph) -> Prediction:
        """Predict as the potential does.

        Raises:
            InputError: The potential raised an error.
        """
        try:
            return self._potential(graph)
        except InputError:
            raise
        except _ANY_ERROR as error:
            name = type(self._potential).__name__
            raise InputError(f"the potential {name} raised {typed_line(error)}") from error


def resolve_potential(
    text: str,
    *,
    calculator_args: Sequence[str] = (),
    dtype: Dtype | None = None,
    device: str = "auto",
    memory: MemoryMode = "auto",
) -> Resolved:
    """Load or make the potential that `text` names.

    Args:
        text: A checkpoint (.safetensors), a run's folder, `emt`, `lj`, or `module:factory`. The factory is called with
            the arguments and returns an ASE calculator or a `Potential`. Modules of the working directory are found.
        calculator_args: `KEY=VALUE` for `emt`, `lj` and factories.
        dtype: Precision of a checkpoint; None keeps that of training.
        device: Device of a checkpoint; `auto` takes the GPU if there is one.
        memory: Memory mode of a checkpoint, as `load_potential` takes it.

    Raises:
        InputError: `text` names nothing of this kind, or the potential cannot be loaded or made.
    """
    arguments = parse_arguments(calculator_args)
    if is_checkpoint(text):
        if arguments:
            raise InputError(
                f"--calculator-args: {text} is a checkpoint, which takes none; use --dtype, --device"
            )
        return _load(text, dtype, device, memory)
    for option, value in (("dtype", dtype), ("memory", memory)):
        if value not in {None, "auto"}:
            raise InputError(f"--{option} {value}: is for checkpoints, and {text} is none")
    if text in _BUILT_IN:
        factory, defaults, elements = _BUILT_IN[text]
        _check_keys(text, arguments, list(factory.default_parameters))
        made = _made(text, factory, defaults | arguments)
        if text == "lj" and arguments:
            elements = None  # with parameters of the user it is no longer argon
    else:
        made, elements = _made(text, _imported(text), arguments), None
    if isinstance(made, BaseCalculator):
        return Resolved(text, CheckedCalculator(made), elements=elements, calculator=made)
    if isinstance(made, Potential):
        return Resolved(text, made if isinstance(made, EsenPotential) else CheckedPotential(made))
    raise InputError(f"{text}: gives a {type(made).__name__}, expected an ASE calculator")


def resolve_all(
    potentials: Sequence[str],
    how: PotentialOptions,
    only: Collection[str] | None = None,
    *,
    default_dtype: Dtype | None = "float64",
) -> dict[str, Resolved]:
    """Resolve several potentials by label. The argument `LABEL:KEY=VALUE` is for the potential of that label alone.

    Args:
        potentials: Each as `resolve_potential` takes it.
        how: Options of `resolve_potential`, for every potential that they apply to.
        only: Labels of the potentials to load; None loads all.
        default_dtype: Precision of checkpoints where `how` has none; None keeps that of training.

    Raises:
        InputError: A potential cannot be resolved, an argument names an unknown label, or an option applies to none.
    """
    sources = _sources(potentials, how, default_dtype)
    for argument in how.get("calculator_args", ()):
        if _scope(argument) not in {"", *sources}:
            raise InputError(
                f"--calculator-args {argument}: no potential is called {_scope(argument)!r};"
                f" expected {', '.join(sources)}"
            )
    only_calculators = not any(is_checkpoint(text) for text in potentials)
    return {
        label: resolve_potential(
            source.given,
            calculator_args=source.arguments,
            dtype=source.dtype,
            device=how.get("device", "auto"),
            memory=how.get("memory", "auto") if only_calculators or is_checkpoint(source.given) else "auto",
        )
        for label, source in sources.items()
        if only is None or label in only
    }


def potential_sources(
    potentials: Sequence[str], how: PotentialOptions, *, default_dtype: Dtype | None = "float64"
) -> dict[str, PotentialSource]:
    """Identify potentials by label: arguments, precision, and the hash of the weights. Nothing is loaded.

    Args:
        potentials: Each as `resolve_potential` takes it.
        how: Options of `resolve_all`.
        default_dtype: Precision of checkpoints where `how` has none.

    Raises:
        InputError: A folder holds no checkpoint.
    """
    sources = _sources(potentials, how, default_dtype)
    for label, source in sources.items():
        if is_checkpoint(source.given) and Path(source.given).exists():
            path = find_weights(Path(source.given))
            sources[label] = replace(source, path=path, sha256=sha256_of(path))
    return sources


def digest(content: bytes) -> str:
    """Return the beginning of the SHA-256 hash, by which a content is recognised.

    >>> digest(b"Cu")
    'sha256 b62c681738d1'
    """
    return f"sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def is_checkpoint(text: str) -> bool:
    """Return whether `text` names a file or a folder, rather than `emt`, `lj` or `module:factory`."""
    if text in _BUILT_IN:
        return False
    return ":" not in text or text.endswith(".safetensors") or Path(text).exists()


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` as keyword arguments, with values as in a recipe.

    Raises:
        InputError: There is no `=` or no key, or a key is given twice.

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


def labelled(potentials: Sequence[str]) -> dict[str, str]:
    """Return the potentials by short, distinct labels.

    >>> labelled(["runs/mgo/best.safetensors", "runs/mgo/last.safetensors", "emt", "emt"])
    {'mgo': 'runs/mgo/best.safetensors', 'mgo-last': 'runs/mgo/last.safetensors', 'emt': 'emt', 'emt-2': 'emt'}
    """
    return dict(zip(distinct([_short(text) or "potential" for text in potentials]), potentials, strict=True))


def distinct(names: Sequence[str]) -> list[str]:
    """Number the names that would give the same file, also on file systems that ignore case.

    >>> distinct(["MgO", "Cu", "mgo", "MgO", "a b", "a_b"])
    ['MgO', 'Cu', 'mgo-2', 'MgO-3', 'a b', 'a_b-2']
    """
    taken: set[str] = set()
    numbered = []
    for base in names:
        name, number = base, 1
        while file_name(name).casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(file_name(name).casefold())
        numbered.append(name)
    return numbered


def file_name(text: str) -> str:
    """Replace the characters of a name that a file or folder cannot have.

    >>> file_name("Cu fcc/32")
    'Cu_fcc_32'
    """
    kept = "".join(c if c in "-_.+#" or (c.isalnum() and _is_encodable(c)) else "_" for c in text)
    return _cut(kept.strip(".") or "_")


def _is_encodable(letter: str) -> bool:
    """Whether names of files can have a letter; in a locale without UTF-8 only ASCII is."""
    try:
        return bool(os.fsencode(letter))
    except UnicodeEncodeError:
        return False


def _cut(name: str) -> str:
    """Return the beginning of a long name with a hash of the whole, because files have at most 255 bytes."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 4]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _short(text: str) -> str:
    path = Path(text)
    if not is_checkpoint(text):
        return text.rsplit(":", maxsplit=1)[-1]
    if path.suffix != ".safetensors":
        return path.resolve().name
    run = path.absolute().parent.name
    return {"best": run, "last": f"{run}-last"}.get(path.stem, path.stem)


def _sources(
    potentials: Sequence[str], how: PotentialOptions, default_dtype: Dtype | None
) -> dict[str, PotentialSource]:
    """The potentials by label with the options for their kind; nothing is read.

    An option for a kind that is not there goes to all potentials, which then refuse it.
    """
    kinds = [is_checkpoint(text) for text in potentials]
    sources = {}
    for (label, text), checkpoint in zip(labelled(potentials).items(), kinds, strict=True):
        scopes = {label} if checkpoint and not all(kinds) else {label, ""}
        arguments = [one for one in how.get("calculator_args", ()) if _scope(one) in scopes]
        dtype = how.get("dtype") if checkpoint or not any(kinds) else None
        sources[label] = PotentialSource(
            label=label,
            given=text,
            arguments=tuple(argument.removeprefix(f"{label}:") for argument in arguments),
            dtype=dtype or (default_dtype if checkpoint else None),
        )
    return sources


def _scope(argument: str) -> str:
    """The label before the key, if there is one.

    >>> _scope("emt:asap_cutoff=True"), _scope("path=C:/x")
    ('emt', '')
    """
    return argument.partition("=")[0].rpartition(":")[0]


def _load(text: str, dtype: Dtype | None, device: str, memory: MemoryMode) -> Resolved:
    if not Path(text).exists() and not text.endswith(".safetensors"):
        raise InputError(
            f"{text}: no such file; expected a checkpoint (.safetensors), a run's folder, emt, lj, or module:factory"
        )
    place = choose_device(device)
    potential = load_potential(
        find_weights(Path(text)), dtype=choose_dtype(dtype), device=place, memory=memory
    )
    if place == "cpu":
        potential.register_forward_pre_hook(SharedCores().update)
    single = next(potential.parameters()).dtype == torch.float32
    return Resolved(text, potential, place, "float32" if single else "float64", potential.elements)


def _check_keys(text: str, arguments: dict[str, Any], known: list[str]) -> None:
    """Refuse unknown keywords, because ASE's calculators ignore them."""
    for key in arguments:
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise InputError(f"--calculator-args {key}: {text} takes {', '.join(known)}{hint}")


def _imported(text: str) -> Any:
    """The attribute `attribute` of a module, for the text `module:attribute`."""
    name, _, attribute = text.partition(":")
    here = os.getcwd()  # noqa: PTH109  # for sys.path
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"{text}: there is no module {error.name!r}; is its package installed here?"
            ) from error
        raise InputError(f"{text}: importing {name} needs {error.name!r}, which is not installed") from error
    except _ANY_ERROR as error:
        raise InputError(f"{text}: importing {name} raised {typed_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"{text}: {name} has no {attribute!r}")
        found = getattr(found, part)
    return found


def _made(text: str, factory: Any, arguments: dict[str, Any]) -> Any:
    if not callable(factory) or isinstance(factory, BaseCalculator):
        if arguments:
            raise InputError(f"--calculator-args: {text} is no factory, so it takes none")
        return factory
    try:
        return factory(**arguments)
    except _ANY_ERROR as error:
        raise InputError(f"{text}: making it raised {typed_line(error)}") from error
