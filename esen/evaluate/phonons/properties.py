"""Properties that follow from force constants: frequencies, thermal properties, stability."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.phonon.mesh import Mesh

from esen.evaluate.phonons.crystal import quietly
from esen.evaluate.phonons.protocol import THZ_TO_KELVIN, PhononProtocol

ROOM = 300.0
ACOUSTIC_KELVIN = -35.0
"""Frequency below which acoustic modes at Γ are imaginary; rounding moves them by less (Loew et al.)."""
OTHER_THZ = -1e-3
"""The same for other modes; frequencies of zero are computed as small positive or negative numbers."""


@dataclass(frozen=True)
class Quantity:
    """One of the four quantities of the MDR benchmark.

    Attributes:
        name: key in records and files.
        symbol: in tables and figures.
        unit: of the values.
        format: of the values in the table.
    """

    name: str
    symbol: str
    unit: str
    format: str


QUANTITIES = (
    Quantity("max_frequency", "ω_max", "K", ".1f"),
    Quantity("entropy", "S", "J/K/mol", ".3f"),
    Quantity("free_energy", "F", "kJ/mol", ".3f"),
    Quantity("heat_capacity", "C_V", "J/K/mol", ".3f"),
)


@dataclass(frozen=True, eq=False)
class Thermal:
    """Thermal properties per primitive cell, one value per temperature.

    Attributes:
        temperatures: in K.
        free_energy: in kJ/mol.
        entropy: in J/K/mol.
        heat_capacity: at constant volume, in J/K/mol.
    """

    temperatures: Float64[np.ndarray, " T"]
    free_energy: Float64[np.ndarray, " T"]
    entropy: Float64[np.ndarray, " T"]
    heat_capacity: Float64[np.ndarray, " T"]

    def at(self, kelvin: float) -> tuple[float, float, float]:
        """F, S and C_V at one of the temperatures."""
        place = int(np.argmin(np.abs(self.temperatures - kelvin)))
        return float(self.free_energy[place]), float(self.entropy[place]), float(self.heat_capacity[place])


@dataclass(frozen=True, eq=False)
class Properties:
    """Properties of one crystal that are compared.

    Attributes:
        max_mdr: highest frequency in K by the convention of the MDR benchmark: at the points that are commensurate with
            the matrix from unit cell to supercell, read in the primitive reciprocal basis.
        max_commensurate: highest frequency at the points that are commensurate with the supercell, in K.
        max_mesh: highest frequency on the mesh, in THz.
        thermal: F, S, C_V without imaginary modes.
        imaginary: number of imaginary modes on the mesh and at commensurate points.
        lowest: lowest frequency in THz, imaginary ones negative.
        lowest_at: its point, in units of the primitive reciprocal lattice.
    """

    max_mdr: float
    max_commensurate: float
    max_mesh: float
    thermal: Thermal
    imaginary: int
    lowest: float
    lowest_at: tuple[float, float, float]

    @property
    def stable(self) -> bool:
        """Whether no mode is imaginary."""
        return self.imaginary == 0


def measure(phonons: Phonopy, protocol: PhononProtocol) -> Properties:
    """Compute the properties with a phonopy that has force constants."""
    mdr = frequencies_at(phonons, get_commensurate_points(phonons.supercell_matrix))
    points = true_commensurate_points(phonons)
    commensurate = frequencies_at(phonons, points)
    quietly(phonons.run_mesh, mesh=protocol.mesh, is_gamma_center=False)
    assert isinstance(phonons.mesh, Mesh)
    mesh = np.array(phonons.mesh.frequencies, dtype=np.float64)
    quietly(phonons.run_thermal_properties, temperatures=np.array(protocol.temperatures))
    found = phonons.thermal_properties
    assert found is not None
    thermal = Thermal(
        *(
            np.array(x, dtype=np.float64)
            for x in (found.temperatures, found.free_energy, found.entropy, found.heat_capacity)
        )
    )
    every = np.concatenate([np.array(phonons.mesh.qpoints), points])
    frequencies = np.concatenate([mesh, commensurate])
    place = np.unravel_index(int(frequencies.argmin()), frequencies.shape)
    x, y, z = (float(value) for value in every[place[0]])
    return Properties(
        max_mdr=float(mdr.max() * THZ_TO_KELVIN),
        max_commensurate=float(commensurate.max() * THZ_TO_KELVIN),
        max_mesh=float(mesh.max()),
        thermal=thermal,
        imaginary=imaginary_modes(every, frequencies),
        lowest=float(frequencies.min()),
        lowest_at=(x, y, z),
    )


def values_of(properties: Properties) -> dict[str, float]:
    """Return the four quantities of the MDR benchmark, by the names of `QUANTITIES`."""
    free_energy, entropy, heat_capacity = properties.thermal.at(ROOM)
    return {
        "max_frequency": properties.max_mdr,
        "entropy": entropy,
        "free_energy": free_energy,
        "heat_capacity": heat_capacity,
    }


def frequencies_at(phonons: Phonopy, points: Float64[np.ndarray, "Q 3"]) -> Float64[np.ndarray, "Q modes"]:
    """Return frequencies in THz, imaginary ones negative, at points in units of the primitive reciprocal lattice."""
    quietly(phonons.run_qpoints, points)
    assert phonons.qpoints is not None
    return np.array(phonons.qpoints.frequencies, dtype=np.float64)


def true_commensurate_points(phonons: Phonopy) -> Float64[np.ndarray, "Q 3"]:
    """Return the points whose waves repeat with the supercell, in units of the primitive reciprocal lattice."""
    matrix = np.rint(np.linalg.inv(phonons.primitive_matrix) @ phonons.supercell_matrix).astype(int)
    return np.array(get_commensurate_points(matrix), dtype=np.float64)


def frequency_rmse(phonons: Phonopy, reference: Phonopy, protocol: PhononProtocol) -> float:
    """Return the root mean square error of all frequencies on the mesh, in THz, sorted at each point.

    Points are compared by their place in units of the primitive reciprocal lattice, so that the cells may differ.
    """
    quietly(reference.run_mesh, mesh=protocol.mesh, is_gamma_center=False)
    assert isinstance(reference.mesh, Mesh)
    weights = np.array(reference.mesh.weights, dtype=np.float64)
    known = np.sort(reference.mesh.frequencies, axis=1)
    found = np.sort(frequencies_at(phonons, np.array(reference.mesh.qpoints)), axis=1)
    return float(np.sqrt(np.average(((found - known) ** 2).mean(axis=1), weights=weights)))


def imaginary_modes(points: Float64[np.ndarray, "Q 3"], frequencies: Float64[np.ndarray, "Q modes"]) -> int:
    """Count imaginary modes: those below −35 K among the three lowest at Γ, and others below −0.001 THz."""
    at_gamma = np.abs(points - np.rint(points)).max(axis=1) < 1e-8
    limits = np.full(frequencies.shape, OTHER_THZ)
    limits[at_gamma, :3] = ACOUSTIC_KELVIN / THZ_TO_KELVIN
    return int((np.sort(frequencies, axis=1) < limits).sum())
