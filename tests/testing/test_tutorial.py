"""The tutorial on testing is true: its files are the examples, its commands print what it shows.

A seed is a run, so seeds, times, positions and counts are compared as well; what is measured on a
real clock is not shown. After a change of what a seed means

    pytest tests/testing/test_tutorial.py -m "long or not long" --rewrite-tutorial

writes the numbers anew, as long as the words are the same. Read the difference: the prose around
them counts, too.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "testing.md").read_text()
EXAMPLES = DOCS / "examples/shop"
CONSOLE = re.compile(r"^```console\n\$ (.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r'^```py\n(""".*?)^```$', re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\b[0-9a-f]{16,32}\b|\d+(?:[.,]\d+)*")

REPAIRED, BROKEN_AGAIN = "## Repair it", "Take\nthe key out again"


def as_pattern(output, number=re.escape):
    """What the page shows; three dots stand for anything.

    Args:
        output: of a command, as the page has it.
        number: the pattern for one of its numbers.
    """

    def piece(text):
        words, numbers = NUMBER.split(text), NUMBER.findall(text)
        return "".join(
            re.escape(word) + (number(numbers[place]) if place < len(numbers) else "")
            for place, word in enumerate(words)
        )

    parts = map(piece, output.rstrip("\n").split("..."))
    return re.compile("(?s:.*?)".join(parts) + r"\s*")


def renewed(output, printed):
    """What the page shows with the numbers of what was printed; None if there are other words."""
    found = as_pattern(output, lambda _: f"({NUMBER.pattern})").fullmatch(printed)
    numbers = iter(found.groups() if found else ())
    return NUMBER.sub(lambda _: next(numbers), output) if found else None


def compare(page, output, printed, rewrite):
    """Fail unless ``printed`` is what the page shows; or have the page show its numbers."""
    if rewrite and (new := renewed(output, printed)):
        page.write_text(page.read_text().replace(output, new))
        output = new
    assert as_pattern(output).fullmatch(printed), f"see --rewrite-tutorial:\n{printed}"


@pytest.fixture
def folder(tmp_path):
    shutil.copy(EXAMPLES / "shop.py", tmp_path)
    shutil.copy(EXAMPLES / "test_shop.py", tmp_path)
    return tmp_path


def run(command, folder):
    words = shlex.split(command)
    assert words[0] == "python"
    installed = any(found.name == "flowactor" for found in entry_points(group="pytest11"))
    plugins = {} if installed else {"PYTEST_PLUGINS": "flowactor.testing.door"}
    environment = os.environ | plugins | {"PYTHONPATH": str(DOCS.parent), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


COMMANDS = range(len(CONSOLE.findall(PAGE)))
LONG = {0, 2, 3, 4, 5}
"""Campaigns, a crash at each position of a run, and tests that do the same. By default shorter ones
are looked at: those of the README below, and what ``tests/cli/test_simulate.py`` has printed.
"""


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, marks=[pytest.mark.long] * (place in LONG)) for place in COMMANDS],
    ids=lambda place: f"command {place + 1}",
)
def test_commands_of_the_tutorial_print_what_it_shows(place, folder, rewrite_tutorial):
    """Each command, on the shop as it is at that point of the page, to the last digit."""
    told = list(CONSOLE.finditer(PAGE))[place]
    if PAGE.index(REPAIRED) < told.start() < PAGE.index(BROKEN_AGAIN):
        shutil.copy(EXAMPLES / "repaired.py", folder / "shop.py")
    command, output = told.groups()
    compare(DOCS / "testing.md", output, run(command, folder), rewrite_tutorial)


def test_the_readme_shows_what_comes_of_its_order(tmp_path, rewrite_tutorial):
    """Its program survives every crash of its owner, and its test passes, as it says."""
    page = DOCS.parent / "README.md"
    readme = page.read_text()
    [program] = re.findall(r"^```python\n(# orders.py.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    [tests] = re.findall(r"^```py\n(# test_orders.py.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    (tmp_path / "orders.py").write_text(program)
    (tmp_path / "test_orders.py").write_text(tests)
    [(command, output)] = CONSOLE.findall(readme)
    compare(page, output, run(command, tmp_path), rewrite_tutorial)
    assert "1 passed" in run("python -m pytest -q test_orders.py", tmp_path)


def test_files_of_the_tutorial_are_the_examples():
    """What a reader saves is what is type-checked and run here."""
    shop, tests = FILE.findall(PAGE)
    assert shop == (EXAMPLES / "shop.py").read_text()
    assert tests == (EXAMPLES / "test_shop.py").read_text()


def test_the_repaired_shop_differs_in_what_the_tutorial_says():
    """Two lines in the place of one."""
    wrong = (EXAMPLES / "shop.py").read_text()
    [repair] = re.findall(r"hand it on:\n\n```py\n(.*?)```", PAGE, re.DOTALL)
    changed = wrong.replace("    number = await payments.record((order, cents))\n", repair)
    assert changed == (EXAMPLES / "repaired.py").read_text() != wrong


def test_what_is_shown_is_compared():
    """Words and numbers alike; only three dots stand for anything."""
    pattern = as_pattern("seed 12 failed: ...\nat 1.5 s")
    assert pattern.fullmatch("seed 12 failed: a\nb\nat 1.5 s\n")
    assert not pattern.fullmatch("seed 7 failed: a\nb\nat 1.5 s\n")
    assert not pattern.fullmatch("seed 12 passed: a\nb\nat 1.5 s\n")
    assert not pattern.fullmatch("seed 12 failed: a\nb\nat 1.50 s\n")


def test_numbers_alone_are_written_anew():
    """Other words are for people to look at."""
    told = "seed 12 failed: ...\nrun 0123456789abcdef at 1.5 s\n"
    printed = "seed 7 failed: 3 times\nrun fedcba9876543210 at 0.25 s\n"
    assert renewed(told, printed) == "seed 7 failed: ...\nrun fedcba9876543210 at 0.25 s\n"
    assert renewed(told, printed.replace("failed", "passed")) is None
