"""Runs one test of pytest in a simulation: what is behind ``door``.

The test is run once for each seed, and each time with a cluster of its own; under Hypothesis that
is once for each seed and example. What other plugins make of an async test is left aside.
"""

import inspect
import shlex
from collections.abc import Callable, Coroutine
from types import CodeType, TracebackType
from typing import Any, Final, Self

import pytest
from attrs import field, fields_dict, frozen

from flowactor.simulation.scenario import Invariant
from flowactor.testing.simulated import SimulatedCluster
from flowactor.testing.simulating import LIMIT_SECONDS, SETTLE_SECONDS, simulate_test
from flowactor.workflow import App

__all__ = ["SimulatedItem"]

Test = Callable[..., Coroutine[Any, Any, None]]

_HANDED: Final[dict[str, Callable[[SimulatedCluster], Any]]] = {
    "simulated_client": lambda cluster: cluster.client,
    "simulated_cluster": lambda cluster: cluster,
    "simulated_world": lambda cluster: cluster.world,
}
"""fixture -> what the test gets for it."""


@frozen(kw_only=True)
class _Told:
    """What ``@pytest.mark.simulated`` says; see ``simulate_test``."""

    nodes: int = 3
    seeds: int = 1
    seed: int | None = None
    sockets: bool = False
    settle_seconds: float = SETTLE_SECONDS
    limit_seconds: float = LIMIT_SECONDS
    invariants: tuple[Invariant, ...] = field(default=(), converter=tuple)

    @classmethod
    def of(cls, item: pytest.Function) -> Self:
        marker = item.get_closest_marker("simulated")
        if marker is None:
            return cls()
        strange = [*map(repr, marker.args), *(marker.kwargs.keys() - fields_dict(cls).keys())]
        if strange:
            known = ", ".join(fields_dict(cls))
            pytest.fail(
                f"@pytest.mark.simulated knows {known}; not {', '.join(sorted(strange))}",
                pytrace=False,
            )
        told = cls(**marker.kwargs)
        if told.seeds < 1:
            pytest.fail("@pytest.mark.simulated(seeds=...) is at least 1", pytrace=False)
        return told


class SimulatedItem:
    """A context manager around the call of a test, within which ``play`` is what calls it.

    Args:
        item: as other plugins have not yet seen it.
    """

    def __init__(self, item: pytest.Function) -> None:
        self._item: Final = item
        self._function: Final = item.obj
        self._given: Final = getattr(item.obj, "hypothesis", None)
        self._test: Final[Test] = item.obj if self._given is None else self._given.inner_test

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._given is not None:
            self._given.inner_test = self._test

    def play(self) -> None:
        """Run the test with all its seeds, and raise what the first of them failed with."""
        __tracebackhide__ = True
        if not inspect.iscoroutinefunction(self._test):
            pytest.fail(
                f"{self._item.name} is simulated, so it must be an async function", pytrace=False
            )
        asked = self._item._fixtureinfo.argnames  # noqa: SLF001  # as pytest calls the test itself
        arguments = {name: self._item.funcargs[name] for name in asked}
        for name, value in arguments.items():
            _refuse_async_fixture(name, value)
        if self._given is None:
            self._simulate((), arguments)
        else:
            self._given.inner_test = self._example()
            self._function(**arguments)

    def _example(self) -> Callable[..., None]:
        """What Hypothesis calls with each example; it tells people its name."""

        def example(*args: Any, **given: Any) -> None:
            __tracebackhide__ = True
            self._simulate(args, given)

        example.__name__ = self._test.__name__
        return example

    def _simulate(self, args: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        __tracebackhide__ = True
        told = _Told.of(self._item)
        for seed in self._seeds(told):
            self._simulate_one(told, seed, args, arguments)

    def _simulate_one(
        self, told: _Told, seed: int, args: tuple[Any, ...], arguments: dict[str, Any]
    ) -> None:
        __tracebackhide__ = True
        app = self._item.funcargs["flowactor_app"]
        assert isinstance(app, App), "the fixture flowactor_app returns a flowactor.App"

        async def body(cluster: SimulatedCluster) -> None:
            handed = {name: _HANDED[name](cluster) for name in arguments if name in _HANDED}
            await self._test(*args, **(arguments | handed))

        try:
            simulate_test(
                body,
                app=app,
                nodes=told.nodes,
                seed=seed,
                sockets=told.sockets,
                settle_seconds=told.settle_seconds,
                limit_seconds=told.limit_seconds,
                invariants=told.invariants,
            )
        except BaseException as error:
            command = f"pytest {shlex.quote(self._item.nodeid)} --simulated-seed {seed}"
            error.add_note(f"to repeat it: {command}")
            error.with_traceback(_from(self._test.__code__, error.__traceback__))
            raise

    def _seeds(self, told: _Told) -> range | tuple[int]:
        asked: int | None = self._item.config.getoption("simulated_seed")
        if asked is not None:
            return (asked,)
        return range(told.seeds) if told.seed is None else (told.seed,)


def _refuse_async_fixture(name: str, value: Any) -> None:
    foreign = type(value).__module__.partition(".")[0] == "pytest_trio"
    if foreign or inspect.isawaitable(value) or inspect.isasyncgen(value):
        pytest.fail(
            f"{name} is an async fixture: it would run outside of the simulation. Call it in the "
            "test, or make it a fixture that is not async",
            pytrace=False,
        )


def _from(code: CodeType, traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in this code, or all of it if it was never there."""
    found = traceback
    while found is not None and found.tb_frame.f_code is not code:
        found = found.tb_next
    return found or traceback
