"""The documentation is true: its code runs, its links lead somewhere, its commands are real."""

import re
import runpy
from pathlib import Path

import pytest

import flowactor

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path) -> str:
    """The page's Python blocks as one file, each line where it stands in the page."""
    text = page.read_text()
    lines = [""] * text.count("\n")
    for block in CODE.finditer(text):
        start = text.count("\n", 0, block.start(1))
        for offset, line in enumerate(block[1].splitlines()):
            lines[start + offset] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if CODE.search(page.read_text())], ids=name
)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch):
    """The Python blocks of the page, in order and in one file, run without an error."""
    script = tmp_path / f"{page.stem}.py"
    script.write_text(code_of(page))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")


def test_readme_prints_its_receipt(tmp_path, monkeypatch, capsys):
    """The README's program prints what the README says, also a second time on the same data."""
    script = tmp_path / "orders.py"
    script.write_text(code_of(ROOT / "README.md"))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        runpy.run_path(str(script), run_name="__main__")
        assert capsys.readouterr().out == "receipt for order-1\n"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_the_page_lead_somewhere(page):
    """Every link to a file of the project names one that exists."""
    targets = LINK.findall(page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_readme_commands_are_single_lines():
    """Both set-up commands are one line each that makes an environment, installs and runs."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if "-m venv" in line]
    demo, tests = lines
    assert demo.endswith("&& .venv/bin/python -m flowactor demo")
    assert tests.endswith("&& .venv/bin/python -m pytest")


def test_the_public_surface_is_pinned():
    """``docs/api.md`` names exactly the public names, and each of them exists."""
    named = set(re.findall(r"`fa\.(\w+)`", (ROOT / "docs/api.md").read_text()))
    assert sorted(named) == sorted(flowactor.__all__)
    assert [public for public in flowactor.__all__ if not hasattr(flowactor, public)] == []
