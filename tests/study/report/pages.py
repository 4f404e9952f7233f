"""Reports as a program reads them: well-formed, and without anything from elsewhere."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "img", "br"}


@dataclass
class Parsed:
    """What a page has."""

    title: str = ""
    text: str = ""
    exact: set[str] = field(default_factory=set)
    headings: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[dict[str, str | None]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page, self.open = Parsed(), list[tuple[str, str]]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.page.tags.append(tag)
        assert len(given) == len(attrs), f"{tag} has an attribute twice"
        assert not any(name.startswith("on") for name in given), f"{tag} runs a script"
        if tag == "img":
            self.page.images.append(given)
        if tag == "a":
            self.page.links.append(given["href"] or "")
        if tag == "data":
            self.page.exact.add(given["value"] or "")
        if tag in {"h1", "h2", "h3", "h4"}:
            self.page.levels.append(int(tag[1]))
        for name in ("src", "href"):
            assert not (given.get(name) or "").startswith(("http", "//", "file:")), given
        if tag not in _VOID:
            self.open.append((tag, given.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, marks = self.open[-1] if self.open else ("", "")
        if tag == "title":
            self.page.title = data
        if tag == "th":
            self.page.headings.append(data)
        if tag == "td":
            self.page.classes[data.strip()] = marks
        if tag != "style":
            self.page.text += data


def parse(path: Path) -> Parsed:
    """Read a page, which has to be well-formed and whole in itself."""
    content = path.read_text(encoding="utf-8")
    assert content.startswith("<!DOCTYPE html>")
    assert "url(" not in content
    assert "@import" not in content
    parser = _Parser()
    parser.feed(content)
    parser.close()
    page = parser.page
    assert not parser.open
    assert "script" not in page.tags
    assert page.tags.count("h1") == 1
    assert all(image["alt"] and (image["src"] or "").startswith("data:image/png") for image in page.images)
    assert page.levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.levels, page.levels[1:], strict=False))
    return page
