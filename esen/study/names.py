"""What potentials and files are called."""

from collections.abc import Sequence
from pathlib import Path

from esen.study.potentials import is_checkpoint


def labelled(potentials: Sequence[str]) -> dict[str, str]:
    """The potentials by what they are called: short, and no two the same.

    >>> labelled(["runs/mgo/best.safetensors", "runs/mgo/last.safetensors", "emt", "emt"])
    {'mgo': 'runs/mgo/best.safetensors', 'mgo-last': 'runs/mgo/last.safetensors', 'emt': 'emt', 'emt-2': 'emt'}
    """
    return dict(zip(distinct([_short(text) or "potential" for text in potentials]), potentials, strict=True))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, changed where two would be one file, also where a file system does not know upper from lower case.

    >>> distinct(["MgO", "Cu", "mgo", "MgO", "a b", "a_b"])
    ['MgO', 'Cu', 'mgo-2', 'MgO-3', 'a b', 'a_b-2']
    """
    taken: set[str] = set()
    told_apart = []
    for base in names:
        name, number = base, 1
        while file_name(name).casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(file_name(name).casefold())
        told_apart.append(name)
    return told_apart


def _short(text: str) -> str:
    path = Path(text)
    if not is_checkpoint(text):
        return text.rsplit(":", maxsplit=1)[-1]
    if path.suffix != ".safetensors":
        return path.resolve().name
    run = path.absolute().parent.name
    return {"best": run, "last": f"{run}-last"}.get(path.stem, path.stem)


def file_name(text: str) -> str:
    """A name as a file or folder can have it.

    >>> file_name("Cu fcc/32")
    'Cu_fcc_32'
    """
    kept = "".join(c if c.isalnum() or c in "-_.+#" else "_" for c in text)
    return kept.strip(".") or "_"
