"""The published protocols, number by number (REFERENCE: fairchem's phonon recipes; Loew et al.)."""

from esen.evaluate.phonons.protocol import PROTOCOLS


def test_published_numbers() -> None:
    fair, loew, tight = PROTOCOLS["mdr-fair"], PROTOCOLS["mdr-loew"], PROTOCOLS["tight"]
    assert (fair.fmax, fair.displacement, fair.relax, fair.symmetrize) == (0.005, 0.01, "primitive", False)
    assert (loew.fmax, loew.displacement, loew.subtract_mean, loew.mesh) == (0.005, 0.01, True, 100.0)
    assert (tight.fmax, tight.relax, tight.keep_symmetry) == (1e-5, "unit", True)
    assert all(300.0 in protocol.temperatures for protocol in PROTOCOLS.values())
