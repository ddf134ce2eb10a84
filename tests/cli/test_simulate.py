"""``simulate``: what it refuses, what it reports, and that a seed repeats a run."""

import json
import subprocess
import sys

import pytest

from flowactor.cli.exits import Exit
from flowactor.cli.simulate_plan import Plan
from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.faults import Crash
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Depth

APP = '''
"""An app for simulations."""

import flowactor as fa
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.world import current_world


@fa.step
async def charge(amount: int) -> int:
    return await current_world().ledger("payments").record(amount, seconds=0.05)


@fa.workflow
class Buy:
    async def run(self, amount: int, note: str = "") -> int:
        return await charge(amount)


@fa.workflow
class Wait:
    async def run(self) -> None:
        await fa.sleep(1)


app = fa.App([Buy, Wait])
alone = fa.App([Wait])
number = 3


async def later(world) -> None: ...


def blind() -> None: ...


def charged_once(world) -> None:
    world.ledger("payments").check_each_step_once()
'''

BUY = ("simulated_shop:app", "--workflow", "Buy", "--input", "5")


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch, fixed_hash_seed):
    """A folder with the app, where the command is called."""
    (tmp_path / "simulated_shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "simulated_shop", raising=False)
    return tmp_path


class Simulator:
    """Stands for the simulator: fails where there are two crashes, or at the third point."""

    def __init__(self):
        self.calls = []
        self.points = 4
        self.waiting = {}
        self.failed = {}

    def __call__(self, scenario, depth, *, keep=False, strike=None):
        self.calls.append((scenario, depth, keep, strike))
        crashes = sum(isinstance(fault, Crash) for fault in scenario.faults)
        wrong = crashes > 1 or (strike is not None and strike.point == 3)
        return Outcome(
            seed=scenario.seed,
            digest=f"{scenario.seed:032}",
            failure=Failure("I8", f"{crashes} crashes", 20.0) if wrong else None,
            events=1000,
            virtual_seconds=12.0,
            marks={"leader changed": 1},
            points=self.points,
            runs=2,
            waiting=self.waiting,
            failed=self.failed,
            lines=((0, 0, "phase", ("faults",)),) if keep else (),
        )


@pytest.fixture
def simulator(monkeypatch):
    """In place of the real one, for what is about the command alone."""
    fake = Simulator()
    monkeypatch.setattr("flowactor.cli.simulate_plan.simulate", fake)
    return fake


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), Exit.USAGE, "MODULE:APP"),
        ((*BUY, "--faults", "crash,flood"), Exit.USAGE, "there is no fault 'flood': ask for all"),
        ((*BUY, "--depth", "deep"), Exit.USAGE, "'core', 'node'"),
        ((*BUY, "--exhaustive", "flood"), Exit.USAGE, "'owner-crash', 'crash', 'partition'"),
        ((*BUY, "--input", "{bad"), Exit.USAGE, "is not JSON"),
        ((*BUY, "--nodes", "12"), Exit.USAGE, "--nodes"),
        ((*BUY, "--faults", ""), Exit.USAGE, "a name is missing"),
        ((*BUY, "--faults", "crash,,partition"), Exit.USAGE, "a name is missing"),
        ((*BUY, "--faults", "all,crash"), Exit.USAGE, "'all' stands alone"),
        ((*BUY, "--seconds", "0"), Exit.USAGE, "--seconds"),
        ((*BUY, "--seconds", "nan"), Exit.USAGE, "nan is no length of time"),
        ((*BUY, "--healing-seconds", "inf"), Exit.USAGE, "inf is no length of time"),
        ((*BUY, "--seed", "3", "--seeds", "10"), Exit.USAGE, "--seeds does nothing together"),
        ((*BUY, "--exhaustive", "crash", "--faults", "all"), Exit.USAGE, "--faults does nothing"),
        ((*BUY, "--timeline", "nope/x.html"), Exit.USAGE, "nope is no folder"),
        ((*BUY, "--timeline", "x.txt"), Exit.USAGE, ".html or .svg"),
        ((*BUY, "--seeds", "0"), Exit.USAGE, "--seeds"),
        ((*BUY, "--jobs", "0"), Exit.USAGE, "--jobs"),
        ((*BUY, "--input", '"much"'), Exit.REFUSED, "amount"),
        ((*BUY, "--input", '{"amount": 5}'), Exit.REFUSED, "amount"),
        ((*BUY, "--input", "[1, [], 3]"), Exit.REFUSED, "3 arguments given"),
        ((*BUY[:2], "Sell"), Exit.REFUSED, "registered are: Buy v1, Wait v1"),
        (("simulated_shop:app",), Exit.REFUSED, "--workflow; the app has: Buy, Wait"),
        (("simulated_shop",), Exit.REFUSED, "MODULE:APP 'simulated_shop': write MODULE:ATTR"),
        (("no_such_shop:app",), Exit.REFUSED, "no module 'no_such_shop'"),
        (("simulated_shop:number",), Exit.REFUSED, "of type int, not a flowactor App"),
        (("simulated_shop:nothing",), Exit.REFUSED, "it has the App app, alone"),
        ((*BUY, "--invariant", "simulated_shop:nope"), Exit.REFUSED, "has no 'nope'"),
        ((*BUY, "--invariant", "simulated_shop:number"), Exit.REFUSED, "is no function"),
        ((*BUY, "--invariant", "simulated_shop:later"), Exit.REFUSED, "later is async"),
        ((*BUY, "--invariant", "simulated_shop:blind"), Exit.REFUSED, "must take the world"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(command, simulator, arguments, code, text):
    """One clear line on stderr, the right code, nothing on stdout, and no run."""
    result = command("simulate", *arguments)
    assert result.exit_code == code, result.output
    assert text in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert simulator.calls == []


def test_bad_input_is_json_for_machines(command):
    """With ``--json`` the refusal is an object on stderr."""
    told = command.json("simulate", *BUY, "--input", "[]", code=Exit.REFUSED)
    assert told["error"] == "InvalidInput"


# -- campaigns ----------------------------------------------------------------------------------


def test_seeds_that_pass(command, simulator):
    """As many runs as asked for, from the first seed on, at the asked depth; code 0."""
    options = ("--seeds", "5", "--first-seed", "40", "--faults", "none", "--depth", "node")
    result = command("simulate", *BUY, *options, "--nodes", "5")
    assert result.exit_code == Exit.OK, result.output
    assert "5 of 5 seeds passed: 60 virtual seconds" in result.stdout
    assert [call[0].seed for call in simulator.calls] == [40, 41, 42, 43, 44]
    assert {(call[0].nodes, call[0].faults, call[1]) for call in simulator.calls} == {
        (5, (), Depth.NODE)
    }


def test_a_failure_is_shrunk_and_told(command, simulator, shop):
    """Its seed and message, the smallest schedule as Python, the timeline, and how to repeat it."""
    result = command("simulate", *BUY, "--seeds", "200", "--faults", "crash,pause")
    assert result.exit_code == Exit.RUN_ENDED_BADLY
    found = next(call[0] for call in simulator.calls if sum_of_crashes(call[0]) > 1)
    lines = result.stdout.splitlines()
    assert lines[0] == f"seed {found.seed} failed: I8: {sum_of_crashes(found)} crashes"
    assert "the smallest schedule that fails so" in lines[1]
    assert "2 faults, 0 acts" in lines[1]
    assert "SCENARIO = Scenario(" in lines
    assert "from simulated_shop import app" in lines
    page = f"flowactor-seed-{found.seed}.html"
    assert f"timeline: {page}" in lines
    assert (shop / page).read_text().startswith("<!")
    assert (
        "repeat:   python -m flowactor simulate simulated_shop:app --workflow Buy --input 5 "
        f"--faults crash,pause --seed {found.seed}" in lines
    )


def sum_of_crashes(scenario):
    return sum(isinstance(fault, Crash) for fault in scenario.faults)


def test_a_campaign_for_machines(command, simulator, shop):
    """One object on stdout with all that is promised, and nothing else."""
    options = ("--seeds", "120", "--keep-going", "--timeline", "failed.svg", "--shrink", "40")
    told = command.json("simulate", *BUY, *options, code=Exit.RUN_ENDED_BADLY)
    assert told["seeds"] == 120
    assert told["digests"]["7"] == f"{7:032}"
    assert told["marks"] == {"leader changed": 120}
    assert told["events"] == 120_000
    assert told["events_per_second"] > 0
    assert told["virtual_seconds_per_second"] > 0
    assert told["timeline"] == "failed.svg"
    assert (shop / "failed.svg").read_text().startswith("<svg")
    assert len(told["failures"]) > 1
    first = told["failures"][0]
    assert {"seed", "checker", "message", "at_seconds", "schedule", "shrunk"} == set(first)
    assert first["checker"] == "I8"
    assert first["shrunk"]["executions"] <= 40
    compile(first["schedule"], "schedule", "exec")


def test_a_timeline_that_cannot_be_written_is_refused(command, simulator):
    """A folder that is not there is one line, not a traceback."""
    result = command("simulate", *BUY, "--seed", "1", "--timeline", "nowhere/page.html")
    assert result.exit_code == Exit.USAGE
    assert "nowhere/page.html cannot be written: nowhere is no folder" in result.stderr
    assert simulator.calls == []


def test_the_only_workflow_need_not_be_named(command, simulator):
    """An app with one type is simulated with it."""
    quiet = command("simulate", "simulated_shop:alone", "--seeds", "1", "--faults", "none")
    assert quiet.exit_code == Exit.OK
    assert {act.workflow for act in simulator.calls[0][0].acts if hasattr(act, "workflow")} == {
        "Wait"
    }


def test_a_campaign_that_tested_nothing_does_not_pass(command, simulator):
    """If no run of the workflow came to anything in any seed, that is said, and is no success."""
    simulator.points = 0
    result = command("simulate", *BUY, "--faults", "none")
    assert result.exit_code == Exit.REFUSED
    assert "nothing was tested" in result.stderr


def test_runs_that_never_end_are_told_with_their_lines(command, simulator):
    """With seeds, with one of them, and with strikes; where all runs end nothing is said of it."""
    quiet = (*BUY, "--faults", "none", "--seeds", "3")
    assert "never ended" not in command("simulate", *quiet).stdout
    simulator.waiting = {"shop.py:7": 1}
    told = command("simulate", *quiet)
    assert told.exit_code == Exit.OK
    assert "3 of 6 workflow runs never ended; they wait at shop.py:7 (3)" in told.stdout
    once = command("simulate", *BUY, "--seed", "1")
    assert "1 of 2 workflow runs never ended; they wait at shop.py:7 (1)" in once.stdout
    struck = command("simulate", *BUY, "--exhaustive", "owner-crash")
    assert "5 of 10 workflow runs never ended; they wait at shop.py:7 (5)" in struck.stdout


def test_runs_that_fail_are_told_with_their_errors(command, simulator):
    """A workflow that fails at its first line breaks no promise, and yet was not tested."""
    quiet = (*BUY, "--faults", "none", "--seeds", "3")
    assert "workflow runs failed" not in command("simulate", *quiet).stdout
    simulator.failed = {"ValueError: no such thing": 1}
    told = command("simulate", *quiet)
    assert told.exit_code == Exit.OK
    assert "3 of 6 workflow runs failed, with ValueError: no such thing (3)" in told.stdout
    struck = command("simulate", *BUY, "--exhaustive", "owner-crash")
    assert "5 of 10 workflow runs failed, with ValueError: no such thing (5)" in struck.stdout


def test_code_that_reaches_outside_is_told_with_its_line(command, monkeypatch):
    """An escape ends the command; the line it names, and the cure, are on stderr."""

    def escape(scenario, depth, **options):
        raise SimulationEscape("shop.py:7 calls time.time(): use fa.now()")

    monkeypatch.setattr("flowactor.cli.simulate_plan.simulate", escape)
    result = command("simulate", *BUY, "--seeds", "3")
    assert result.exit_code == Exit.REFUSED
    assert "SimulationEscape: shop.py:7 calls time.time()" in result.stderr


# -- one seed -----------------------------------------------------------------------------------


def test_one_seed_is_repeated_and_shown(command, simulator):
    """The run of that seed alone, with its record kept, as text; code as its verdict."""
    passed = command("simulate", *BUY, "--seed", "7", "--faults", "none")
    assert passed.exit_code == Exit.OK, passed.output
    (call,) = simulator.calls
    assert (call[0].seed, call[2]) == (7, True)
    assert f"digest:   {7:032}" in passed.stdout
    assert "seed 7 passed (12 virtual seconds, 1,000 events)" in passed.stdout
    bad = next(seed for seed in range(100) if sum_of_crashes(buy_plan().draw(seed)) > 1)
    failed = command("simulate", *BUY, "--seed", str(bad))
    assert failed.exit_code == Exit.RUN_ENDED_BADLY
    assert f"seed {bad} failed: I8" in failed.stdout


def buy_plan():
    return Plan(app_path=BUY[0], workflow="Buy", input="5")


def test_one_seed_for_machines(command, simulator):
    """The same object as for many seeds, of this one."""
    told = command.json("simulate", *BUY, "--seed", "7", "--faults", "none")
    assert told["seeds"] == 1
    assert told["digests"] == {"7": f"{7:032}"}
    assert told["timeline"] is None


# -- every position -----------------------------------------------------------------------------


def test_every_position_is_struck(command, simulator):
    """A table of what failed, the schedule with its strike, and the counts."""
    result = command("simulate", *BUY, "--exhaustive", "owner-crash")
    assert result.exit_code == Exit.RUN_ENDED_BADLY
    assert "owner-crash: 4 positions, 4 runs, 3 passed, 1 failed" in result.stdout
    assert "3      owner  I8       0 crashes" in result.stdout
    assert 'STRIKE = Strike(kind="owner-crash", point=3)' in result.stdout
    struck = [call[3].point for call in simulator.calls if call[3] and not call[2]]
    assert struck == [1, 2, 3, 4]
    assert all(call[0].faults == () for call in simulator.calls)


def test_every_position_for_machines(command, simulator):
    """Points, runs, what passed, and each failure with point, node and schedule."""
    told = command.json("simulate", *BUY, "--exhaustive", "crash", code=Exit.RUN_ENDED_BADLY)
    assert (told["points"], told["runs"], told["passed"]) == (4, 12, 9)
    assert [(one["point"], one["node"]) for one in told["failures"]] == [(3, 1), (3, 2), (3, 3)]
    assert "Strike(kind=" in told["failures"][0]["schedule"]


# -- the command line that repeats --------------------------------------------------------------


def test_the_command_that_repeats_says_what_is_unusual():
    """Options that are as usual are left out; words are quoted where a shell needs it."""
    plan = Plan(
        app_path="shop:app",
        input='["a b"]',
        kinds=(),
        nodes=5,
        depth=Depth.NODE,
        seconds=10.1234567,
        healing_seconds=30.0,
        cancels=True,
        invariants=("shop:one", "shop:two"),
    )
    assert plan.command("--seed", "3") == (
        "python -m flowactor simulate shop:app --input '[\"a b\"]' --faults none --nodes 5 "
        "--depth node --seconds 10.1234567 --healing-seconds 30.0 --cancels --invariant shop:one "
        "--invariant shop:two --seed 3"
    )
    assert Plan(app_path="shop:app").command() == "python -m flowactor simulate shop:app"


# -- the simulator itself -----------------------------------------------------------------------


def test_a_wrong_workflow_is_found_out(command):
    """An effect without an idempotency key is repeated by a crash of the owner: the search over all
    positions finds where, at core depth.
    """
    check = ("--invariant", "simulated_shop:charged_once")
    told = command.json("simulate", *BUY, *check, "--exhaustive", "owner-crash", code=1)
    assert "ledger payments" in {failure["checker"] for failure in told["failures"]}
    assert 0 < len(told["failures"]) < told["points"]


def test_processes_change_nothing(command):
    """Two processes give the same digests, in the same order, as one."""
    one = command.json("simulate", *BUY, "--seeds", "4", "--faults", "none")
    two = command.json("simulate", *BUY, "--seeds", "4", "--faults", "none", "--jobs", "2")
    assert list(one["digests"].items()) == list(two["digests"].items())
    assert one["marks"] == two["marks"]


def test_a_seed_is_the_same_in_another_process(command, shop):
    """The digest of a seed is that of a process whose texts hash differently."""
    here = command.json("simulate", *BUY, "--seed", "4", "--faults", "crash,loss")
    arguments = ("simulate", *BUY, "--seed", "4", "--faults", "crash,loss", "--json")
    there = subprocess.run(
        [sys.executable, "-m", "flowactor", *arguments],
        env={"PYTHONHASHSEED": "77"},
        cwd=shop,
        capture_output=True,
        check=True,
    )
    assert json.loads(there.stdout)["digests"] == here["digests"]
