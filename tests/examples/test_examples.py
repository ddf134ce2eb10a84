"""Every script in ``docs/examples`` does what its own first lines say."""

import ast
import runpy
import textwrap
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "docs/examples").glob("*.py"))


def promised(path: Path) -> str:
    """What stands under ``Prints::`` in the script's docstring."""
    _, _, block = ast.get_docstring(ast.parse(path.read_text())).partition("Prints::\n\n")
    return textwrap.dedent(block).strip() + "\n"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_it_promises(path, capsys):
    """The script, run as one, prints exactly what its docstring says and fails nowhere."""
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out == promised(path)


def test_all_examples_are_found():
    """The examples that the documentation names are all there."""
    assert {path.stem for path in EXAMPLES} >= {
        "computation",
        "embedded",
        "fibonacci",
        "orders",
        "ping_pong",
        "variables",
    }
