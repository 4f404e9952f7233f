"""What is said beneath a table."""

from dataclasses import dataclass, replace

from esen.study.materials.words import protocol_lines


@dataclass(frozen=True)
class Protocol:
    name: str = "theirs"
    source: str = "they"
    fmax: float = 0.1


def test_changes_of_a_published_protocol_are_said() -> None:
    published = {"theirs": Protocol()}
    assert protocol_lines(Protocol(), published) == ["protocol theirs: they"]
    changed = protocol_lines(replace(Protocol(), fmax=0.2), published)
    assert changed == ["protocol theirs: they", "theirs: NOT the protocol as it is: fmax 0.2"]
    assert protocol_lines(Protocol("mine", "me"), published) == ["protocol mine: me"]
