"""The page in a browser: no errors, no network, nothing wider than the window, and on paper."""

import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

from esen.study.report import write_report
from esen.study.table import Column, Table, write_result

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
FRAME = """<!DOCTYPE html><title></title><script>
function measure(frame) {
  const inner = frame.contentWindow, entries = inner.performance.getEntriesByType("resource");
  const requests = entries.filter(one => !one.name.startsWith("data:")).length;
  const page = inner.document.documentElement;
  const beyond = page.scrollWidth - page.clientWidth;
  document.title = `${inner.innerWidth} wide, ${beyond} beyond, ${requests} requests`;
}
</script><iframe width="WIDTH" height="900" frameborder="0" onload="measure(this)" srcdoc="PAGE"></iframe>"""
"""A window of Chromium is at least 500 pixels wide, a frame within it is not."""
COLUMNS = [
    Column[Any]("name of the crystal", value=lambda r: "crystal" * 40, wraps=True),
    *(Column[Any](f"quantity {n}", unit="meV/atom/ps", value=lambda r: r / 7) for n in range(30)),
    Column[Any]("verdict", value=lambda r: "fails", wraps=True),
]


def browse(path: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={profile}"]
    command += ["--enable-logging=stderr", "--v=0", *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window_and_nothing_is_fetched(tmp_path: Path, width: int) -> None:
    settings = {"a_long_name_" * 20: "value" * 300}
    write_result(tmp_path, "elastic", potentials={}, settings=settings, table=Table(COLUMNS, range(20)))
    page = write_report(tmp_path).read_text(encoding="utf-8").replace("<details>", "<details open>")
    path = tmp_path / "frame.html"
    path.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", escape(page)), encoding="utf-8")
    seen = browse(path, tmp_path / "profile", "--window-size=1400,1000", "--dump-dom")
    assert f"<title>{width} wide, 0 beyond, 0 requests</title>" in seen.stdout, seen.stderr
    assert "CONSOLE" not in seen.stderr


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_the_page_prints(tmp_path: Path) -> None:
    write_result(tmp_path, "elastic", potentials={}, settings={}, table=Table(COLUMNS, range(20)))
    browse(write_report(tmp_path), tmp_path / "profile", f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
