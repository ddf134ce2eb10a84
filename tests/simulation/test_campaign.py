"""Campaigns over many seeds: what is counted, when they stop, what they report."""

import json

import pytest

import flowactor as fa
from flowactor.simulation.campaign import play, run_campaign
from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.faults import Crash
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.source import source_of_value


@fa.workflow
class Plain:
    async def run(self) -> None:
        await fa.sleep(1)


app = fa.App([Plain])
BAD = (3, 5, 6)


def draw(seed):
    faults = tuple(Crash(1, float(at), at + 0.5) for at in range(seed))
    return Scenario(app=app, seed=seed, faults=faults, seconds=20.0)


class Clock:
    """A clock of the real world that only moves when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Runner:
    """Fails for some seeds, while there are two faults; each run takes a tenth of a second."""

    def __init__(self):
        self.clock = Clock()
        self.runs = 0

    def __call__(self, scenario):
        self.runs += 1
        self.clock.now += 0.1
        wrong = scenario.seed in BAD and len(scenario.faults) >= 2
        return Outcome(
            seed=scenario.seed,
            digest=f"digest {scenario.seed}",
            failure=Failure("I8", f"{len(scenario.faults)} crashes", 15.0) if wrong else None,
            events=1000,
            virtual_seconds=50.0,
            points=3,
            runs=2,
            waiting={"shop.py:7": 1},
            failed={"OSError: no answer": 1},
            marks={"leader changed": 1, f"seed {scenario.seed}": 2},
        )


def script(scenario, failure):
    return f"{failure.message}: {source_of_value(scenario.faults)}"


def campaign(seeds, **options):
    runner = options.pop("runner", None) or Runner()
    outcomes = play(seeds, draw, runner)
    return run_campaign(outcomes, draw, runner, script=script, now=runner.clock, **options)


def test_seeds_that_pass_are_counted():
    """Digests by seed, marks of all runs together, and rates by the clock that was given."""
    result = campaign(range(3))
    assert result.failures == ()
    assert result.digests == {0: "digest 0", 1: "digest 1", 2: "digest 2"}
    assert result.points == 9
    told = result.as_dict()
    assert (told["workflow_runs"], told["never_ended"]) == (6, 3)
    assert told["waiting_at"] == {"shop.py:7": 3}
    assert told["ended_in_failure"] == 3
    assert told["failed_with"] == {"OSError: no answer": 3}
    assert result.marks["leader changed"] == 3
    assert result.marks["seed 2"] == 2
    assert result.real_seconds == pytest.approx(0.3)
    assert result.per_second(result.events) == pytest.approx(10_000)
    assert result.as_dict()["virtual_seconds_per_second"] == pytest.approx(500)


def test_the_first_failure_ends_it_and_is_shrunk():
    """Seeds after the failing one are not run; its schedule is the shrunk one."""
    runner, told, shrinking = Runner(), [], []
    result = campaign(range(100), runner=runner, progress=told.append, shrinking=shrinking.append)
    (found,) = result.failures
    assert found.seed == 3
    assert found.failure.message == "3 crashes"
    assert found.shrunk.minimal
    assert found.schedule == "2 crashes: (Crash(node=1, at=0.0, until=1.0), Crash(node=1, at=1.0))"
    assert list(result.digests) == [0, 1, 2, 3]
    assert [outcome.seed for outcome in told] == [0, 1, 2, 3]
    assert runner.runs == 4 + found.shrunk.executions == 4 + len(shrinking)


def test_shrinking_does_not_slow_the_rates_down():
    """Events per second are those of the campaign's own runs, not of candidates."""
    assert campaign(range(100)).as_dict()["events_per_second"] == pytest.approx(10_000)
    assert campaign(range(10), keep_going=True).real_seconds == pytest.approx(1.0)


def test_it_can_go_on_after_failures():
    """All failing seeds are found, in order; only the first is shrunk."""
    result = campaign(range(10), keep_going=True)
    assert [found.seed for found in result.failures] == list(BAD)
    assert [found.shrunk is not None for found in result.failures] == [True, False, False]
    assert result.failures[1].schedule.startswith("5 crashes: ")
    assert result.seeds == 10


def test_without_a_budget_nothing_is_shrunk():
    """The schedule is then that of the seed itself."""
    runner = Runner()
    result = campaign(range(10), runner=runner, budget=0)
    assert result.failures[0].shrunk is None
    assert result.failures[0].schedule.startswith("3 crashes: ")
    assert runner.runs == 4


def test_the_report_is_plain_json():
    """Every key that is promised is there, and the whole of it survives a round trip."""
    told = json.loads(json.dumps(campaign(range(5)).as_dict()))
    assert told["seeds"] == 4
    assert told["digests"] == {str(seed): f"digest {seed}" for seed in range(4)}
    assert told["marks"]["leader changed"] == 4
    assert "torn tail" in told["marks_missing"]
    (failure,) = told["failures"]
    assert failure["seed"] == 3
    assert failure["checker"] == "I8"
    assert failure["message"] == "3 crashes"
    assert failure["at_seconds"] == 15.0
    assert failure["schedule"].startswith("2 crashes")
    assert failure["shrunk"]["faults"] == 2
    assert failure["shrunk"]["minimal"] is True


def test_no_time_passed_is_no_error():
    """A clock that stands still gives rates of 0."""
    runner = Runner()
    outcomes = play(range(2), draw, runner)
    result = run_campaign(outcomes, draw, runner, script=script, now=lambda: 1.0)
    assert result.as_dict()["events_per_second"] == 0


def test_what_is_no_verdict_names_its_seed():
    """An error that a run raises ends the campaign, and says which seed it was."""

    def escaping(scenario):
        if scenario.seed == 2:
            raise SimulationEscape("time.time() in orders.py:7")
        return Runner()(scenario)

    with pytest.raises(SimulationEscape, match=r"orders\.py:7") as raised:
        list(play(range(5), draw, escaping))
    assert raised.value.__notes__ == ["in the run of seed 2"]


def test_code_without_an_end_is_not_shrunk():
    """Each run of a loop that never awaits takes seconds: it is reported as it is."""
    runs = []

    def endless(scenario):
        runs.append(scenario.seed)
        failure = Failure("endless", "flows.py:3 in Order.run", 1.0)
        return Outcome(
            seed=scenario.seed, digest="", failure=failure, events=1, virtual_seconds=1.0
        )

    campaign = run_campaign(
        play(range(5), draw, endless), draw, endless, script=lambda *_: "", now=Clock()
    )
    assert runs == [0]
    assert campaign.failures[0].shrunk is None
