"""One crystal with one potential: what is computed, and the files that it leaves."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import phonopy

from esen.errors import InputError
from esen.evaluate.model import Model
from esen.evaluate.phonons.crystal import Crystal, quietly
from esen.evaluate.phonons.properties import frequency_rmse, measure
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.phonons.run import Phonons, notes_on, phonons_at, relaxed_crystal
from esen.evaluate.relax import Relaxed
from esen.evaluate.together import together
from esen.graph.types import Potential
from esen.md.calculator import EsenCalculator
from esen.study.materials.failures import reason_of
from esen.study.materials.models import REFERENCE, models_of
from esen.study.materials.records import read_record, write_record
from esen.study.phonons.bands import Bands, Lines, bands_of, path_of, read_bands, write_bands
from esen.study.phonons.choose import Input
from esen.study.phonons.files import write_thermal
from esen.study.phonons.jobs import TOGETHER, Job, Part, PhononOptions
from esen.study.phonons.plots import bands_plot
from esen.study.phonons.record import Record, failed, record_of
from esen.study.potentials import PotentialOptions, file_name

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PhononWork:
    """All that is to be known to do a job in any process.

    Attributes:
        potentials: as the user gave them.
        labels: what all potentials are called, in the order of the tables.
        how: of `resolve_potential`.
        protocol: of all crystals.
        options: likewise.
        output: folder of all files.
        wanted: labels of the potentials that have something to compute.
    """

    potentials: tuple[str, ...]
    labels: tuple[str, ...]
    how: PotentialOptions
    protocol: PhononProtocol
    options: PhononOptions
    output: Path
    wanted: tuple[str, ...] = ()

    def begin(self) -> Callable[[Job], None]:
        """Load the potentials."""
        models = models_of(
            self.potentials,
            self.how,
            wanted=self.wanted,
            exact=self.protocol.method == "hessian",
            allow_direct=self.options.allow_direct,
            batch_atoms=self.options.batch_atoms,
        )
        read = lru_cache(maxsize=TOGETHER)(Input.load)  # all potentials of a crystal follow each other

        def do(job: Job) -> None:
            parts = [part for (part,) in self.missing(job)]
            self._compute(parts, models[job[0].label], read)
            for part in parts if self.options.plots else ():
                with suppress(FileNotFoundError):  # another process has drawn it at the same moment
                    self.plot(part.crystal)

        return do

    def missing(self, job: Job) -> list[Job]:
        """The crystals of which a record is missing, one by one."""
        return [(part,) for part in job if not all(path.exists() for path in self.paths(part))]

    def give_up(self, job: Job, reason: str) -> None:
        """Record that nothing came of it."""
        for part in job:
            for name in self.names(part):
                path = self.path(part.label, name)
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_record(path, failed(name, part.crystal.known, reason))

    def name(self, job: Job) -> str:
        """For the user."""
        more = f" and {len(job) - 1} more" if len(job) > 1 else ""
        return f"{job[0].label}, {job[0].crystal.name}{more}"

    def names(self, part: Part) -> dict[str, float]:
        """What the crystal is called at each displacement, in Å."""
        name, several = part.crystal.name, self.options.displacements
        if len(several) > 1 and part.label != REFERENCE:
            return {f"{name}@{displacement:g} Å": displacement for displacement in several}
        return {name: (several or (self.protocol.displacement,))[0]}

    def path(self, label: str, name: str) -> Path:
        """Of a record; what else is kept of it has the same stem."""
        return self.output / file_name(label) / f"{file_name(name)}.json"

    def paths(self, part: Part) -> list[Path]:
        """Of the records of a crystal."""
        return [self.path(part.label, name) for name in self.names(part)]

    def records(self, part: Part) -> list[Record]:
        """What is recorded of a crystal."""
        found = [read_record(path, Record) for path in self.paths(part)]
        if not part.crystal.indexed:
            return found
        known = asdict(part.crystal.known)  # the index may be newer than the record
        return [replace(one, known=known) for one in found]

    def _compute(self, parts: Sequence[Part], model: Model | None, read: Callable[[Input], Crystal]) -> None:
        given: dict[Part, Crystal] = {}
        for part in parts:
            with self._recorded(part):
                crystal = replace(read(part.crystal), name=part.crystal.name)
                if model is not None:
                    model.check_elements(crystal.unitcell)
                given[part] = crystal
        for part, found in zip(given, self._relaxed(list(given.values()), model), strict=True):
            with self._recorded(part):
                if isinstance(found, Exception):
                    raise found
                self._displace(part, given[part], *found, model)

    @contextmanager
    def _recorded(self, part: Part) -> Iterator[None]:
        """What spglib, phonopy or a foreign calculator raises is the end of this crystal, not of the others."""
        try:
            yield
        except Exception as error:
            keep = self.paths(part)[0].with_suffix(".traceback.txt")
            self.give_up((part,), reason_of(error, keep))

    def _displace(
        self, part: Part, given: Crystal, at: Crystal, relaxed: Relaxed | None, model: Model | None
    ) -> None:
        if relaxed is not None and relaxed.melted:
            raise InputError(f"{at.name}: it is not the same crystal after relaxation: {relaxed.change}")
        lines = self._lines(given)
        for name, displacement in self.names(part).items():
            path = self.path(part.label, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                continue
            try:
                if model is None:
                    found = self._reference(at)
                else:
                    found = phonons_at(at, relaxed, model, replace(self.protocol, displacement=displacement))
                self._keep(path, name, found, lines, model)
            except Exception as error:  # one displacement may fail where another does not
                reason = reason_of(error, path.with_suffix(".traceback.txt"))
                write_record(path, failed(name, given.known, reason))

    def _relaxed(
        self, crystals: Sequence[Crystal], model: Model | None
    ) -> list[tuple[Crystal, Relaxed | None] | Exception]:
        """Each as the protocol wants it; together where the potential takes batches."""
        if model is None or self.protocol.relax is None:
            return [(crystal, None) for crystal in crystals]
        if not isinstance(model.calculator, EsenCalculator):
            return [_outcome(relaxed_crystal, one, model.calculator, self.protocol) for one in crystals]

        def procedure(crystal: Crystal, shared: Potential) -> tuple[Crystal, Relaxed | None]:
            return relaxed_crystal(crystal, EsenCalculator(shared), self.protocol)

        return together(
            [partial(procedure, crystal) for crystal in crystals],
            model.potential,
            sizes=[len(crystal.unitcell) for crystal in crystals],
            budget=model.batch_atoms,
            device=model.device,
        )

    def _lines(self, crystal: Crystal) -> Lines | None:
        if not self.options.plots:
            return None
        try:
            return path_of(crystal, self.protocol.symprec)
        except Exception as error:  # of seekpath, by whatever name: numbers are worth more than a picture
            logger.warning("%s: no path for its bands (%s)", crystal.name, error)
            return None

    def _reference(self, crystal: Crystal) -> Phonons:
        """The force sets of the input through the same measurement."""
        if crystal.reference is None:
            raise InputError(f"{crystal.name}: the input holds no force sets")
        return Phonons(crystal, None, crystal.reference, measure(crystal.reference, self.protocol))

    def _keep(self, path: Path, name: str, found: Phonons, lines: Lines | None, model: Model | None) -> None:
        """Files of one computation; the record last, because it says that all are there."""
        reference = found.crystal.reference
        rmse = float("nan")
        notes: tuple[str, ...] = ()
        write_thermal(path.with_suffix(".thermal.csv"), found)
        if lines is not None:
            write_bands(path.with_suffix(".bands.npz"), bands_of(found.phonopy, lines))
            beneath = self._bands_of_reference(found.crystal.name)
            if reference is not None and not beneath.exists():
                beneath.parent.mkdir(parents=True, exist_ok=True)
                write_bands(beneath, bands_of(reference, lines))
        if model is not None:
            how = {"force_constants": True, "force_sets": False}
            quietly(found.phonopy.save, path.with_suffix(".phonopy.yaml"), settings=how)
            notes = notes_on(found.phonopy, model)
            if reference is not None:
                rmse = frequency_rmse(found.phonopy, reference, self.protocol)
        write_record(path, record_of(name, found, rmse, notes))

    def _bands_of_reference(self, name: str) -> Path:
        return self.output / REFERENCE / f"{file_name(name)}.bands.npz"

    def plot(self, crystal: Input) -> None:
        """Bands of all computations that are there already. The last one to be computed draws all."""
        study = len(self.options.displacements) > 1
        panels: dict[str, dict[str, Bands]] = {}
        for label in self.labels:
            for name, displacement in self.names(Part(label, crystal)).items() if label != REFERENCE else ():
                bands = self._bands(self.path(label, name), crystal)
                if bands is not None:
                    panel, curve = (label, f"{displacement:g} Å") if study else ("", label)
                    panels.setdefault(panel, {})[curve] = bands
        beneath = self._bands_of_reference(crystal.name)
        reference = None
        with suppress(InputError):  # damaged, or not there
            reference = read_bands(beneath)
        if panels or reference is not None:
            bands_plot(panels, reference, crystal.name, self.plot_path(crystal))

    def _bands(self, record: Path, crystal: Input) -> Bands | None:
        """As they are kept, else of the force constants that are kept; None: neither is."""
        path, saved = record.with_suffix(".bands.npz"), record.with_suffix(".phonopy.yaml")
        with suppress(InputError):  # damaged, or not there
            return read_bands(path)
        if not saved.exists():
            return None
        given = crystal.load()
        lines = self._lines(given)
        if lines is None:
            return None
        write_bands(path, bands_of(quietly(phonopy.load, saved, is_nac=False, log_level=0), lines))
        beneath = self._bands_of_reference(crystal.name)
        if given.reference is not None and not beneath.exists():
            beneath.parent.mkdir(parents=True, exist_ok=True)
            write_bands(beneath, bands_of(given.reference, lines))
        return read_bands(path)

    def plot_path(self, crystal: Input) -> Path:
        """Of the bands."""
        return self.output / f"{file_name(crystal.name)}.bands.png"


def _outcome(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | Exception:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error
