"""What is printed of records."""

from dataclasses import replace

from esen.study.relax.record import Record
from esen.study.relax.rows import MOST, lines_of, rows_of

GOOD = Record(
    "a", "a.xyz, frame 0", "Cu", 1, energy_before=-1.0, energy=-1.25, fmax_before=1.0, fmax=0.00123,
    steps=7, converged=True, volume_ratio=0.98765, displacement=0.1, groups=(139, 225),
)  # fmt: skip
FAILED = Record("b", "b.xyz, frame 0", "U", 1, failure="b.xyz, frame 0: it is ill")


def test_rows() -> None:
    melted = replace(GOOD, name="c", melted=True, change="its volume is 3 times what it was", groups=(0, 0))
    rows = rows_of([GOOD, FAILED, melted, replace(GOOD, converged=False, groups=(225, 225))])
    assert [row["verdict"] for row in rows] == ["converged", "failed", "melted", "not converged"]
    assert rows[0] == {
        "name": "a",
        "formula": "Cu",
        "atoms": "1",
        "steps": "7",
        "fmax (eV/Å)": "0.0012",
        "ΔE (meV/atom)": "-250.000",
        "V/V0": "0.9877",
        "group": "139→225",
        "verdict": "converged",
    }
    assert rows[1].keys() == rows[0].keys()
    assert [row["group"] for row in rows[1:]] == [None, None, "225"]
    assert lines_of([GOOD, FAILED, melted], "relax.csv") == [
        "b: b.xyz, frame 0: it is ill",
        "c: its volume is 3 times what it was",
    ]


def test_of_many_the_bad_ones_come_first() -> None:
    records = [replace(GOOD, name=str(number)) for number in range(MOST)] + [FAILED]
    rows = rows_of(records)
    assert [row["name"] for row in rows] == ["b", *map(str, range(MOST - 1))]
    first, second = lines_of(records, "here/relax.csv")
    assert first.startswith(f"{MOST + 1} structures: {MOST} converged, 1 failed; {MOST} are shown")
    assert first.endswith("here/relax.csv")
    assert second.startswith("b: ")
    many = lines_of([replace(FAILED, name=str(number)) for number in range(MOST + 3)], "relax.csv")
    assert len(many) == MOST + 2
    assert many[-1] == "and 3 more, in relax.csv"
