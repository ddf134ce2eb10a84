"""Every script in ``docs/examples`` does what its own first lines say."""

import ast
import runpy
import textwrap
from pathlib import Path

import pytest

FIGURES = {
    "computation": ["162, by way of [6, 18, 54, 162]", "40, by way of [10, 20, 40]"],
    "embedded": ["'DURABLE!'"],
    "fibonacci": [
        f"started at node {node}: 55, read at nodes 1, 2, 3: 55 55 55" for node in (1, 2, 3)
    ],
    "orders": ["tea is processing", "order-1: confirmed", "order-2: out_of_stock"],
    "ping_pong": ["ping: pong", "UnexpectedInputError: Expected 'ping', got 'x'", "status failed"],
    "variables": ["42 then 100", "50 then 60", "100 and 200", "stale write refused: True"],
}
"""What must come out, whatever else an example shows: a script and its promise may err together."""

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


def test_examples_show_their_figures():
    """Each example is there, and promises the results that its workflow has to have."""
    promises = {path.stem: promised(path) for path in EXAMPLES}
    assert promises.keys() == FIGURES.keys()
    missing = [
        (name, figure)
        for name, figures in FIGURES.items()
        for figure in figures
        if figure not in promises[name]
    ]
    assert missing == []
