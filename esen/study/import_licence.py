"""The licence of published weights, which goes where they go."""

from dataclasses import dataclass
from pathlib import Path

from esen.errors import InputError

_PUBLISHED = "huggingface.co/facebook/OMAT24"


@dataclass(frozen=True)
class Licence:
    """Under what the weights may be used.

    Attributes:
        source: where it was found; empty: nowhere.
        text: the whole of it; empty: not known.
    """

    source: str
    text: str

    def describe(self) -> str:
        """One line."""
        if not self.text:
            return f"not in the file. Weights of {_PUBLISHED} go with its LICENSE: give it by --licence FILE"
        title = next((line.strip("# ").strip() for line in self.text.splitlines() if line.strip()), "")
        return f"{title[:70]} ({self.source})"


def find_licence(checkpoint: Path, given: Path | None) -> Licence:
    """What the user names, or the LICENSE beside the checkpoint; neither text nor source where there is none.

    Raises:
        InputError: it cannot be read.
    """
    beside = sorted(p for p in checkpoint.parent.glob("LICEN[CS]E*") if p.is_file())
    path = given if given is not None else (beside[0] if beside else None)
    if path is None:
        return Licence("", "")
    try:
        return Licence(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the licence cannot be read ({error})") from error
