"""The cost model of ``docs/scalability.md``, checked on small clusters; ``simulations.scale`` does
it on large ones.
"""

import attrs
import pytest

from simulations.scale.measuring import measure
from simulations.scale.model import Shape, costs_of, deviations

SHAPES = (Shape(4, 2, 3), Shape(6, 3, 5))


@pytest.mark.parametrize(
    "shape", [SHAPES[0], pytest.param(SHAPES[1], marks=pytest.mark.long)], ids=str
)
def test_a_cluster_costs_what_the_model_says(shape):
    """Messages, syncs and bytes per command, per change of the cluster and per second, and the size
    of the management state, are as predicted.
    """
    assert deviations(costs_of(shape), measure(shape)) == {}


def test_a_wrong_model_is_noticed():
    """A cost that differs by more than its tolerance is named, with the share it is off by."""
    predicted = costs_of(SHAPES[0])
    measured = attrs.evolve(
        predicted,
        command_syncs=predicted.command_syncs * 1.5,
        state_bytes=predicted.state_bytes * 1.01,
    )
    assert deviations(predicted, measured) == {"command_syncs": pytest.approx(0.5)}
