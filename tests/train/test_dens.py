"""Which batches are denoised, and how their atoms are displaced."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.recipe import DensSpec
from esen.train.dens import Displacement, can_be_denoised, denoising_draws, displace, joined
from tests.train.small import crystals, molecule


def draws(spec: DensSpec | None, count: int, **changes: int) -> list[bool]:
    place = {"seed": 0, "epoch": 0} | changes
    return [denoising_draws(spec, **place, batch=batch) is not None for batch in range(count)]


def test_without_denoising_there_are_no_such_batches() -> None:
    assert not any(draws(None, 50))
    assert not any(draws(DensSpec(probability=0), 50))
    assert all(draws(DensSpec(probability=1), 50))


def test_the_share_of_denoising_batches_is_the_probability() -> None:
    assert np.mean(draws(DensSpec(probability=0.3), 4000)) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4000))


def test_the_draws_follow_from_seed_epoch_and_batch_alone() -> None:
    spec = DensSpec()
    assert draws(spec, 40) == draws(spec, 40)
    assert draws(spec, 40) != draws(spec, 40, seed=1)
    assert draws(spec, 40) != draws(spec, 40, epoch=1)


def displaced(
    frames: Sequence[Structure], spec: DensSpec, random: np.random.Generator
) -> list[tuple[Structure, Displacement]]:
    return [displace(frame, spec, random) for frame in frames]


def test_every_atom_is_displaced_by_noise_of_the_given_size() -> None:
    frames = crystals(300)
    spec, found = DensSpec(std=0.2), []
    for before, (after, displacement) in zip(
        frames, displaced(frames, spec, np.random.default_rng(0)), strict=True
    ):
        assert displacement.corrupted.all()
        moved = after.positions - before.positions
        assert np.allclose(moved, 0.2 * displacement.noise.numpy(), atol=1e-14)
        assert np.array_equal(after.cell, before.cell)
        found.append(displacement.noise.numpy())
    noise = np.concatenate(found)
    assert noise.mean() == pytest.approx(0, abs=4 / np.sqrt(noise.size))
    assert noise.std() == pytest.approx(1, abs=4 / np.sqrt(2 * noise.size))


def test_of_a_share_the_others_stay_where_they_were() -> None:
    frames = crystals(300)
    moved = displaced(frames, DensSpec(corrupt_ratio=0.25), np.random.default_rng(0))
    together = joined([displacement for _, displacement in moved])
    assert float(together.corrupted.double().mean()) == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / 600))
    assert not together.noise[~together.corrupted].any()
    assert together.noise[together.corrupted].all(dim=1).all()
    for before, (after, displacement) in zip(frames, moved, strict=True):
        stays = ~displacement.corrupted.numpy()
        assert np.array_equal(after.positions[stays], before.positions[stays])


def test_the_ratio_changes_no_displacement() -> None:
    frames = crystals(20)
    all_, some = (
        joined([d for _, d in displaced(frames, DensSpec(corrupt_ratio=r), np.random.default_rng(3))])
        for r in (None, 0.5)
    )
    assert torch.equal(all_.noise[some.corrupted], some.noise[some.corrupted])


def test_forces_must_be_known() -> None:
    from dataclasses import replace

    (frame,) = crystals(1)
    assert can_be_denoised(frame)
    assert not can_be_denoised(replace(frame, forces=None))
    assert frame.forces is not None
    gap = frame.forces.copy()
    gap[1, 2] = np.nan
    assert not can_be_denoised(replace(frame, forces=gap))
    assert can_be_denoised(molecule(8, 12))
