"""Exhaustive searches: one run for each point, and for each node where a strike names one."""

import json

import pytest

import flowactor as fa
from flowactor.errors import ConfigurationError
from flowactor.simulation.exhaustive import every_strike, strike_everywhere
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.strike import Strike


@fa.workflow
class Plain:
    async def run(self) -> None:
        await fa.sleep(1)


SCENARIO = Scenario(app=fa.App([Plain]), nodes=3)


class Runner:
    """A run with so many points, which fails where it is struck at one of the bad ones."""

    def __init__(self, points, bad=()):
        self.points = points
        self.bad = bad
        self.strikes = []

    def outcome(self, strike=None):
        self.strikes.append(strike)
        point = strike.point if strike else 0
        return Outcome(
            seed=0,
            digest=f"digest {point}",
            failure=Failure("books", "charged twice", 2.0) if point in self.bad else None,
            events=10,
            virtual_seconds=5.0,
            marks={"step repeated": 1},
            points=self.points,
            runs=1,
            waiting={"shop.py:7": 1},
            failed={"OSError: no answer": 1},
        )

    def search(self, kind, **options):
        return strike_everywhere(
            SCENARIO,
            kind,
            self.outcome(),
            lambda strikes: map(self.outcome, strikes),
            seconds=3.0,
            script=lambda failure, strike: f"{failure.checker} {strike.point}",
            **options,
        )


@pytest.mark.parametrize("kind", ["owner-crash", "partition"])
def test_each_point_is_struck_once(kind):
    """From the first to the last, in order, and nothing is struck in the baseline."""
    runner, told = Runner(7), []
    result = runner.search(kind, progress=told.append)
    assert runner.strikes == [None, *(Strike(kind, point, 3.0) for point in range(1, 8))]
    assert result.passed
    assert list(result.blows) == told
    assert result.marks["step repeated"] == 8
    assert result.as_dict()["digests"] == [f"digest {point}" for point in range(1, 8)]


def test_a_crash_strikes_each_node_at_each_point():
    """Two points and three nodes are six runs."""
    strikes = every_strike("crash", 2, 3, 1.0)
    assert [(strike.point, strike.node) for strike in strikes] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 3),
    ]


def test_positions_that_fail_are_told_with_their_schedule():
    """The report counts what passed and lists what failed, as plain JSON."""
    result = Runner(9, bad=(4, 6)).search("owner-crash")
    told = json.loads(json.dumps(result.as_dict()))
    assert not result.passed
    assert (told["points"], told["runs"], told["passed"]) == (9, 9, 7)
    assert (told["workflow_runs"], told["never_ended"]) == (10, 10)
    assert told["waiting_at"] == {"shop.py:7": 10}
    assert told["ended_in_failure"] == 10
    assert told["failed_with"] == {"OSError: no answer": 10}
    assert told["exhaustive"] == "owner-crash"
    assert [failure["point"] for failure in told["failures"]] == [4, 6]
    assert told["failures"][0] == {
        "point": 4,
        "node": 0,
        "checker": "books",
        "message": "charged twice",
        "at_seconds": 2.0,
        "schedule": "books 4",
    }


def test_it_can_stop_at_the_first_failure():
    """No later point is struck."""
    runner = Runner(9, bad=(4, 6))
    assert len(runner.search("owner-crash", keep_going=False).failed) == 1
    assert len(runner.strikes) == 1 + 4


def test_a_run_that_fails_unstruck_is_not_struck():
    """What is wrong without any fault is told as such."""
    runner = Runner(9, bad=(0,))
    result = runner.search("partition")
    assert not result.passed
    assert result.blows == ()
    assert result.as_dict()["unstruck"]["checker"] == "books"
    assert runner.strikes == [None]


def test_a_run_without_points_is_refused():
    """A search that would prove nothing says so instead of passing."""
    with pytest.raises(ConfigurationError, match="no point to strike at"):
        Runner(0).search("owner-crash")


def test_an_unknown_kind_is_refused():
    """Those there are are named."""
    with pytest.raises(ConfigurationError, match="owner-crash, crash, partition"):
        Runner(1).search("flood")
