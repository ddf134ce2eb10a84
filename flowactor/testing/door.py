"""Pytest's door to ``flowactor.testing``, found by pytest at each of its starts.

It is installed a second time, as ``_flowactor_pytest`` beside the package: that imports in no time,
while ``flowactor`` takes a quarter of a second, and most runs of pytest simulate nothing. What runs
a simulated test is in ``flowactor.testing.plugin``, which is imported when there is one.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from flowactor.testing.plugin import SimulatedItem

__all__: list[str] = []

APP = "flowactor_app"
FIXTURES = frozenset({"simulated_client", "simulated_cluster", "simulated_world"})
MARKER = (
    "simulated(nodes=3, seeds=1, seed=None, sockets=False, settle_seconds=60.0, "
    "limit_seconds=600.0, invariants=()): run an async test inside a simulation of flowactor, "
    "once for each of so many seeds"
)
_PREPARED: "pytest.StashKey[SimulatedItem]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("flowactor").addoption(
        "--simulated-seed",
        type=int,
        metavar="N",
        help="run simulated tests of flowactor with this seed alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


class _OnlyInTheTest:
    """What fixtures get, and whoever else is not the test itself: every run has another one."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __repr__(self) -> str:
        return f"<{self.__name}>"

    def __getattr__(self, attribute: str) -> NoReturn:
        raise AttributeError(
            f"{self.__name} exists only while an async test runs that asks for it: "
            f"{attribute} cannot be used in a fixture"
        )


# Of the session, as they hold nothing: each run, and each example of Hypothesis, has a cluster of
# its own.
@pytest.fixture(scope="session")
def simulated_cluster() -> Any:
    """A ``flowactor.testing.SimulatedCluster`` with the app of the fixture ``flowactor_app``."""
    return _OnlyInTheTest("simulated_cluster")


@pytest.fixture(scope="session")
def simulated_client() -> Any:
    """A ``flowactor.Client`` of the simulated cluster, which asks any of its nodes."""
    return _OnlyInTheTest("simulated_client")


@pytest.fixture(scope="session")
def simulated_world() -> Any:
    """The world outside of the simulated cluster, with the ledgers that steps write to."""
    return _OnlyInTheTest("simulated_world")


@pytest.fixture(scope="session")
def flowactor_app() -> NoReturn:
    """The app of simulated clusters; to be overridden."""
    pytest.fail(
        "define a fixture flowactor_app that returns the flowactor.App to be simulated",
        pytrace=False,
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is simulated needs an app, whether it asks for it or not."""
    if isinstance(item, pytest.Function) and _is_simulated(item) and APP not in item.fixturenames:
        item.fixturenames.append(APP)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """See the test function as it was written: other plugins are about to wrap it."""
    __tracebackhide__ = True
    if not (isinstance(item, pytest.Function) and _is_simulated(item)):
        return (yield)
    from flowactor.testing.plugin import SimulatedItem

    with SimulatedItem(item) as prepared:
        item.stash[_PREPARED] = prepared
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    __tracebackhide__ = True
    prepared = pyfuncitem.stash.get(_PREPARED, None)
    if prepared is None:
        return None
    prepared.play()
    return True


def _is_simulated(item: pytest.Function) -> bool:
    if item.get_closest_marker("simulated") is not None:
        return True
    return not FIXTURES.isdisjoint(item.fixturenames)
