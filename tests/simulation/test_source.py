"""Scenarios as scripts: they make the very scenario again, and look as the formatter wants them."""

import subprocess
import sys
import types
from typing import Any

import pytest

import flowactor as fa
from flowactor.simulation.draw import draw_scenario
from flowactor.simulation.faults import Crash, Partition
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Depth, Scenario, Signal, Start
from flowactor.simulation.source import script_of, source_of_value
from flowactor.simulation.strike import Strike


@fa.workflow
class Sum:
    async def run(self, start: Any = 0) -> Any:
        return start

    @fa.signal
    def add(self, amount: int) -> None:
        """Nothing."""


class Holder:
    app = fa.App([Sum])


def check_totals(world):
    """A check of the user's own."""


@pytest.fixture
def run_script(monkeypatch):
    """Runs a script whose app is ``made_up:Holder.app``, in front of a made-up simulator."""
    module = types.ModuleType("made_up")
    module.Holder, module.check_totals = Holder, check_totals
    runner = types.ModuleType("flowactor.simulation.run")
    ran = []

    def simulate(scenario, depth, *, strike=None):
        ran.append((scenario, depth, strike))
        failure = Failure("I8", "broken", 1.0) if scenario.faults else None
        return Outcome(seed=0, digest="", failure=failure, events=0, virtual_seconds=0.0)

    runner.simulate = simulate
    monkeypatch.setitem(sys.modules, "made_up", module)
    monkeypatch.setitem(sys.modules, "flowactor.simulation.run", runner)
    monkeypatch.setattr(check_totals, "__module__", "made_up")

    def run(text):
        names = {"__name__": "__main__"}
        with pytest.raises(SystemExit) as ended:
            exec(compile(text, "script", "exec"), names)
        return ran[-1], ended.value.code

    return run


def script(scenario, depth=Depth.NODE, **options):
    return script_of(scenario, app="made_up:Holder.app", depth=depth, **options)


def drawn(seed, nodes=5):
    return draw_scenario(Holder.app, seed, workflow="Sum", arguments=(1,), nodes=nodes)


def test_a_script_makes_the_very_scenario_again(run_script):
    """Whatever was drawn, running its script simulates an equal scenario at the same depth."""
    for seed in range(100):
        scenario = drawn(seed)
        (ran, depth, strike), code = run_script(script(scenario))
        assert ran == scenario
        assert (depth, strike) == (Depth.NODE, None)
        assert code == ("I8: broken" if scenario.faults else None)


def test_a_script_brings_strike_and_checks_along(run_script):
    """The strike of an exhaustive search and importable checks are part of the script."""
    scenario = Scenario(app=Holder.app, invariants=(check_totals,))
    strike = Strike("crash", 3, node=2)
    (ran, depth, struck), _ = run_script(script(scenario, Depth.CORE, strike=strike))
    assert ran.invariants == (check_totals,)
    assert depth is Depth.CORE
    assert struck == strike


def test_a_check_that_cannot_be_imported_is_named(run_script):
    """A local function is left out of the script, and a comment says so."""
    scenario = Scenario(app=Holder.app, invariants=(lambda world: None, check_totals))
    text = script(scenario)
    assert "# It also had the check test_a_check_that_cannot" in text
    (ran, _, _), _ = run_script(text)
    assert ran.invariants == (check_totals,)


def test_scripts_are_formatted(tmp_path):
    """``ruff format`` has nothing to change in scripts of any size, whatever their texts hold."""
    texts = [
        "it's",
        'a "word"',
        "both ' and \\\" \n\t",
        "ünï",
        "",
        'more """ than \\ one',
        "x" * 120,
    ]
    acts = tuple(
        Start(0.5, "Sum", text, ([text, {"a": (1, 2.5), "b": [None, True] * n}],))
        for n, text in enumerate(texts)
    )
    wide = Partition(tuple((one, one % 9 + 1) for one in range(1, 10)), 1.0)
    odd = Scenario(
        app=Holder.app, nodes=9, acts=acts, faults=(wide,), invariants=(check_totals, check_totals)
    )
    failure = Failure("I8", texts[5] + " a long tale" * 30, 1.5)
    files = {f"seed_{seed}.py": script(drawn(seed, nodes=9)) for seed in range(40)}
    files["odd.py"] = script(odd, failure=failure, strike=Strike("partition", 1))
    files["batches.py"] = script(Scenario(app=Holder.app, deviations=frozenset({1, 70})))
    files["first.py"] = script(Scenario(app=Holder.app, deviations=frozenset(range(4000))))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "ruff", "format", "--diff", "--isolated", "--line-length=100"]
    result = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.stdout == ""
    assert result.returncode == 0, result.stderr


def test_a_script_says_only_what_is_unusual():
    """Defaults are left out, and at core depth so is what matters at node depth only."""
    scenario = Scenario(
        app=Holder.app,
        seed=17,
        acts=(Start(0.0, "Sum", "run-1"), Signal(1.0, "run-1", "add", (2,))),
        faults=(Crash(1, 0.5),),
        deviations=frozenset({3}),
        sockets=False,
    )
    failure = Failure("I8", "node 1 moved commit to 4", 0.75)
    assert script(scenario, Depth.CORE, failure=failure) == EXPECTED


EXPECTED = '''\
"""Seed 17 of made_up:Holder.app.

I8, at 0.750 s: node 1 moved commit to 4
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Signal, Start

from made_up import Holder

SCENARIO = Scenario(
    app=Holder.app,
    seed=17,
    acts=(
        Start(at=0.0, workflow="Sum", id="run-1"),
        Signal(at=1.0, id="run-1", name="add", arguments=(2,)),
    ),
    faults=(Crash(node=1, at=0.5),),
)
DEPTH = Depth.CORE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
'''


def test_a_short_value_stays_on_its_line():
    """What fits is one line; what does not has each part on its own, as deep as needed."""
    assert source_of_value(Crash(1, 0.5, 2.0)) == "Crash(node=1, at=0.5, until=2.0)"
    assert source_of_value((1,)) == "(1,)"
    assert source_of_value(["word"], used=95) == '[\n    "word",\n]'


def test_a_script_says_the_time_that_its_timeline_says():
    """Both round down, also where rounding to the nearest would be another number."""
    failure = Failure("I8", "broken", 1209604.0279)
    told = script(Scenario(app=Holder.app), Depth.CORE, failure=failure)
    assert "I8, at 1209604.027 s: broken" in told
