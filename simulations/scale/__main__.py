"""``python -m simulations.scale``: grows clusters in a made-up world, counts what they cost, and
compares that with the model. Exits with 1 if the model is wrong.
"""

import argparse
import sys
from collections.abc import Sequence

import attrs
from rich.console import Console
from rich.table import Table

from simulations.scale.measuring import measure
from simulations.scale.model import Costs, Shape, costs_of, deviations

SHAPES = (
    Shape(5, 3, 3),
    Shape(10, 6, 3),
    Shape(25, 15, 3),
    Shape(25, 15, 5),
    Shape(50, 30, 3),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulations.scale", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--nodes", type=int, default=max(shape.nodes for shape in SHAPES), help="at most"
    )
    chosen = parser.parse_args()
    shapes = [shape for shape in SHAPES if shape.nodes <= chosen.nodes]
    found: list[Costs] = []
    wrong: list[str] = []
    for shape in shapes:
        print(f"{shape} ...", file=sys.stderr)
        found.append(measure(shape, chosen.seed))
        off = deviations(costs_of(shape), found[-1])
        wrong += [f"{shape}: {cost} is off by {share:+.1%}" for cost, share in off.items()]
    Console(width=110).print(_table(shapes, found))
    for complaint in wrong:
        print(complaint)
    return 1 if wrong else 0


def _table(shapes: Sequence[Shape], found: Sequence[Costs]) -> Table:
    """A row for each cost, a column for each shape."""
    table = Table(title="measured / predicted")
    table.add_column("nodes, groups x replicas", no_wrap=True)
    for shape in shapes:
        heading = f"{shape.nodes}, {shape.groups} x {shape.replicas}"
        table.add_column(heading, justify="right")
    predicted = [costs_of(shape) for shape in shapes]
    for field in attrs.fields(Costs):
        pairs = [
            (getattr(measured, field.name), getattr(expected, field.name))
            for measured, expected in zip(found, predicted, strict=True)
        ]
        cells = [f"{measured:,.4g} / {expected:,.4g}" for measured, expected in pairs]
        table.add_row(field.name.replace("_", " "), *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
