"""Protocols by name."""

from dataclasses import replace

from esen.evaluate.conductivity.protocol import PROTOCOLS


def test_the_benchmark_to_the_letter() -> None:
    found = PROTOCOLS["phonondb-103"]
    assert (found.fmax, found.relax_steps, found.relax_symprec) == (1e-4, 300, 0.01)
    assert (found.keep_symmetry, found.tilt) == (True, False)
    assert (found.displacement, found.symmetrize, found.symprec) == (0.01, True, 1e-5)
    assert (found.temperatures, found.isotopes, found.boundary_mfp) == ((300.0,), True, 1e6)
    assert (found.acoustic_limit, found.optical_limit, found.other_limit) == (-0.01, 0.0, 0.0)
    assert found.transport == "SMM19"
    assert not found.average


def test_tight_differs_in_relaxation_and_rounding_alone() -> None:
    published, tight = PROTOCOLS["phonondb-103"], PROTOCOLS["tight"]
    same = replace(
        tight,
        name=published.name,
        fmax=published.fmax,
        relax_steps=published.relax_steps,
        relax_symprec=published.relax_symprec,
        tilt=published.tilt,
        average=published.average,
        other_limit=published.other_limit,
        source=published.source,
    )
    assert same == published


def test_names_are_keys() -> None:
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
