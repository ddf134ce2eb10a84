"""The pytest plugin: which tests are simulated, how often, what they get, and how they fail."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import flowactor.testing.plugin  # before pytester notes which modules there are
import flowactor.testing.stateful  # noqa: F401

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[2]
DOOR = "_flowactor_pytest"
SOURCE = "flowactor.testing.door"

CONFTEST = """
import pytest
import flowactor as fa
from flowactor.testing import current_world

@fa.step
async def charge(order: str) -> int:
    return await current_world().ledger("payments").record(order, seconds=0.1)

@fa.workflow(version=1)
class Order:
    async def run(self, order: str) -> int:
        await fa.sleep(30 * 86_400)
        return await charge(order)

SEEN = []

@pytest.fixture
def flowactor_app():
    return fa.App([Order])
"""


LATE = """
@pytest.fixture
async def late(): pass

async def test(late, simulated_cluster): pass
"""
EARLY = """
@pytest.fixture
def early(simulated_cluster): return simulated_cluster.client

async def test(early): pass
"""


@pytest.fixture
def play(pytester):
    """Run pytest on these lines, every warning an error, with pytest-trio or without."""

    def play(source, *options, conftest=CONFTEST):
        pytester.makeconftest(conftest)
        pytester.makepyfile(source)
        installed = any(found.value == DOOR for found in entry_points(group="pytest11"))
        door = () if installed else ("-p", SOURCE)
        common = ("-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout")
        return pytester.runpytest_inprocess(*door, *common, *options)

    return play


TRIO = ("-o", "trio_mode=true")
NO_TRIO = ("-p", "no:trio")


@pytest.mark.parametrize("options", [TRIO, NO_TRIO, ("-o", "trio_mode=false")])
def test_a_test_that_asks_for_a_fixture_is_simulated(play, options):
    """With any setting of pytest-trio, as a function and as a method, and others are left alone."""
    source = """
        from conftest import Order

        async def test_a_month(simulated_cluster, simulated_client, simulated_world):
            handle = await simulated_client.start(Order.run, "tea", id="a")
            await simulated_cluster.sleep(days=31)
            assert await handle.result() == 1
            assert simulated_world.ledger("payments").values == ["tea"]
            assert simulated_world is simulated_cluster.world

        class TestOrders:
            async def test_method(self, simulated_cluster):
                assert simulated_cluster.nodes == (1, 2, 3)

        def test_plain():
            pass
    """
    play(source, *options).assert_outcomes(passed=3)


def test_other_async_tests_are_left_to_pytest_trio(play):
    """A simulated test and one of pytest-trio, with its fixtures, stand side by side."""
    source = """
        import pytest, trio

        @pytest.fixture
        async def three():
            await trio.sleep(0)
            return 3

        async def test_trio(three, autojump_clock):
            await trio.sleep(1000)
            assert three == 3

        async def test_simulated(simulated_cluster):
            await trio.sleep(1)
    """
    play(source, *TRIO).assert_outcomes(passed=2)


def test_each_seed_is_a_run_with_a_cluster_of_its_own(play):
    """The marker says how many, or which one; the fixtures are made anew for each."""
    source = """
        import pytest
        from conftest import SEEN

        @pytest.mark.simulated(nodes=1, seeds=3)
        async def test_many(simulated_cluster):
            SEEN.append((simulated_cluster, simulated_cluster.leader))

        @pytest.mark.simulated(nodes=1, seed=17)
        async def test_one(simulated_cluster):
            SEEN.append((simulated_cluster, simulated_cluster.leader))

        def test_they_were_run():
            assert len({id(cluster) for cluster, _ in SEEN}) == len(SEEN) == 4
            assert [leader for _, leader in SEEN] == [1, 1, 1, 1]
    """
    play(source).assert_outcomes(passed=3)
    source = source.replace("== 4", "== 2").replace("[1, 1, 1, 1]", "[1, 1]")
    play(source, "--simulated-seed", "5").assert_outcomes(passed=3)


def test_a_failure_tells_its_seed_and_how_to_repeat_it(play):
    """The first seed that fails ends the test; what is shown begins in the test, and ends with the
    timeline and the command.
    """
    source = """
        import pytest
        from conftest import SEEN

        @pytest.mark.simulated(nodes=1, seeds=9)
        async def test_third(simulated_cluster):
            SEEN.append(1)
            assert len(SEEN) < 3
    """
    result = play(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert len(SEEN) < 3",
            "E*simulated with seed 2 on 1 node",
            "E*node 1 is leader of term 1",
            "E*FAILED AssertionError*",
            "E*to repeat it: pytest *::test_third --simulated-seed 2",
        ]
    )
    result.stdout.no_fnmatch_line("*simulating.py*")
    result.stdout.no_fnmatch_line("*_flowactor_pytest.py*")
    result.stdout.no_fnmatch_line("*door.py*")


def test_invariants_of_the_marker_are_checked_in_the_end(play):
    """What the check raises fails the test, after everything has come to rest."""
    source = """
        import pytest
        from conftest import Order

        def nothing_was_charged(world):
            assert world.results == {"a": 1}
            assert not world.ledger("payments").entries

        @pytest.mark.simulated(nodes=1, invariants=[nothing_was_charged])
        async def test_orders(simulated_cluster):
            await simulated_cluster.client.start(Order.run, "tea", id="a")
            await simulated_cluster.sleep(days=31)
    """
    result = play(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert not world.ledger*"])


def test_skipping_and_failing_work_inside(play):
    """``pytest.skip``, ``pytest.fail`` and ``xfail`` mean what they always do."""
    source = """
        import pytest
        pytestmark = pytest.mark.simulated(nodes=1)

        async def test_skip(simulated_cluster):
            pytest.skip("not today")

        async def test_fail(simulated_cluster):
            pytest.fail("never")

        @pytest.mark.xfail(strict=True)
        async def test_xfail(simulated_cluster):
            assert False
    """
    play(source).assert_outcomes(skipped=1, failed=1, xfailed=1)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "@pytest.mark.simulated(knots=3)\nasync def test(simulated_cluster): pass",
            "*knows nodes, seeds, *; not knots*",
        ),
        (
            "@pytest.mark.simulated(seeds=0)\nasync def test(simulated_cluster): pass",
            "*(seeds=...) is at least 1*",
        ),
        ("def test(simulated_cluster): pass", "*must be an async function*"),
        (
            LATE,
            "*late is an async fixture: it would run outside*",
        ),
        (
            EARLY,
            "*simulated_cluster exists only while an async test runs*",
        ),
    ],
    ids=["strange option", "no seeds", "not async", "async fixture", "used in a fixture"],
)
def test_what_cannot_be_simulated_is_refused(play, source, told):
    """Each misuse fails with a sentence that says what to do."""
    result = play(f"import pytest\n{source}\n", *TRIO)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([told])


def test_without_an_app_it_says_which_fixture_to_write(play):
    """Nobody has to read the manual to find the name."""
    result = play("async def test(simulated_cluster): pass", conftest="")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*define a fixture flowactor_app that returns*"])


def test_under_hypothesis_each_example_is_a_run(play):
    """What is given is drawn before the run; a failure shrinks, and tells its seed."""
    source = """
        import pytest
        from hypothesis import Phase, given, settings, strategies as st
        from flowactor.testing import fault_schedules

        pytestmark = pytest.mark.simulated(nodes=1, settle_seconds=0)
        quick = settings(
            max_examples=5, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate, Phase.shrink],  # to explain takes long
        )

        @quick
        @given(number=st.integers(0, 100))
        async def test_small(simulated_cluster, number):
            assert number < 10

        @pytest.mark.parametrize("most", [100, 1000])
        @quick
        @given(number=st.integers(0, 100))
        async def test_parameters(simulated_cluster, number, most):
            assert number <= most

        @quick
        @given(faults=fault_schedules(nodes=1, seconds=1, kinds=("crash",), max_size=1))
        async def test_faults(simulated_cluster, faults):
            simulated_cluster.play(*faults)
            await simulated_cluster.sleep(1.1)
            assert len(simulated_cluster.befell) == len(faults)
    """
    result = play(source, *TRIO)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["E*test_small(", "E*number=10,"])


def test_pytest_starts_without_flowactor():
    """What pytest imports at each start neither imports flowactor nor Trio nor Hypothesis."""
    code = f"""
import sys, pytest
from importlib.util import module_from_spec, spec_from_file_location
before = set(sys.modules)
spec = spec_from_file_location("{DOOR}", "flowactor/testing/door.py")
spec.loader.exec_module(module_from_spec(spec))
new = sorted(set(sys.modules) - before)
assert new == [], new
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_door_is_where_pytest_looks_for_it():
    """The entry point names the module, and the wheel has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"flowactor": DOOR}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"flowactor/testing/door.py": f"{DOOR}.py"}
