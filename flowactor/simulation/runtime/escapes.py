"""No way out: real time, chance, files, sockets, threads and processes raise inside a simulation.

The functions of those modules are replaced for the time of a run, and put back. What was imported
by its name before (``from time import time``) and what C code does is not seen by that; bodies of
steps and workflow code are watched more closely (``bodies``). The
generators of the modules ``random`` and ``numpy.random`` are seeded, so that what escapes notice is
repeatable at least.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from importlib import import_module
from inspect import currentframe
from random import Random
from threading import get_ident
from types import FrameType
from typing import Any, Final

from attrs import frozen

from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.runtime.frames import is_harmless, place_of, top_package
from flowactor.workflow.context import inside

__all__ = [
    "CHANCE",
    "FILE",
    "IN_BODY",
    "MACHINE",
    "NETWORK",
    "PROCESS",
    "THREAD",
    "TIME",
    "WAIT",
    "Cure",
    "explain",
    "no_way_out",
]

_SHARED: Final[Random] = random.random.__self__  # type: ignore[attr-defined]
"""What the functions of the module ``random`` share."""

IN_BODY: Final[ContextVar[bool]] = ContextVar("flowactor simulated body", default=False)
"""Whether the body of a step runs, or a task that it started."""


@frozen
class Cure:
    """What to write instead, in a workflow and in a step."""

    workflow: str
    step: str

    def __str__(self) -> str:
        if inside():
            return self.workflow
        if IN_BODY.get():
            return self.step
        return f"{self.step} in a step, {self.workflow} in a workflow"


_LEDGER: Final = "flowactor.testing.current_world().ledger(name), which stands for the world"
TIME: Final = Cure("fa.now()", "trio.current_time()")
CHANCE: Final = Cure(
    "fa.random() or fa.uuid4()",
    "a value that the workflow drew (fa.random(), fa.uuid4()) and handed to the step",
)
SEED: Final = Cure("fa.random()", "random.Random(seed), with a seed that the workflow drew")
WAIT: Final = Cure("await fa.sleep(seconds)", "await trio.sleep(seconds)")
FILE: Final = Cure("a step", _LEDGER)
NETWORK: Final = Cure("a step", f"{_LEDGER}: there is no network outside")
PROCESS: Final = Cure("a step", f"{_LEDGER}: there are no processes beside this one")
MACHINE: Final = Cure("an argument of the run", "an argument of the step")
THREAD: Final = Cure(
    "a task (fa.open_nursery()): in a simulation there is one thread",
    "a task (trio.open_nursery()): in a simulation there is one thread",
)


@frozen
class _Exit:
    """One function that leads out: where it is, what it is called, and what to write instead."""

    module: str
    path: str
    cure: Cure


_EXITS: Final = (
    *(
        _Exit("time", name, TIME)
        for name in (
            "time",
            "time_ns",
            "monotonic",
            "monotonic_ns",
            "perf_counter",
            "perf_counter_ns",
        )
    ),
    _Exit("time", "sleep", WAIT),
    _Exit("os", "urandom", CHANCE),
    *(_Exit("secrets", name, CHANCE) for name in ("token_bytes", "token_hex", "token_urlsafe")),
    *(_Exit("uuid", name, CHANCE) for name in ("uuid1", "uuid4")),
    *(_Exit("random", f"SystemRandom.{name}", CHANCE) for name in ("random", "getrandbits")),
    *(
        _Exit("random", name, CHANCE)
        for name in sorted(dir(random))
        if getattr(getattr(random, name), "__self__", None) is _SHARED
        and name not in {"getstate", "setstate"}
    ),
    _Exit("socket", "socket.__init__", NETWORK),
    _Exit("builtins", "open", FILE),
    _Exit("io", "open", FILE),
    _Exit("threading", "Thread.start", THREAD),
    _Exit("subprocess", "Popen.__init__", PROCESS),
)

_NUMPY: Final = "numpy.random"
_NUMPY_CURE: Final = Cure(
    "fa.random()", "numpy.random.default_rng(seed), with a seed that the workflow drew"
)
_NUMPY_NAMELESS: Final = frozenset({"ranf", "sample", "seed"})
"""Functions that use the shared generator and are none of its methods."""

_SEEDED: Final = frozenset({"h11", "trio_websocket", "wsproto"})
"""Libraries that draw nonces and masks: they get theirs from the seed."""


@contextmanager
def no_way_out(chance: Random, on_escape: Callable[[SimulationEscape], None]) -> Iterator[None]:
    """Enter inside the Trio run, which has opened its own doors then. Only this thread is caught.

    Args:
        chance: for libraries that need a nonce, and for the generator of ``random``.
        on_escape: told of each escape, for whoever tried may swallow the exception.
    """
    guard = _Guard(chance, on_escape)
    with ExitStack() as restoring:
        restoring.callback(_SHARED.setstate, _SHARED.getstate())
        seed = chance.getrandbits(64)
        _SHARED.seed(seed)
        for way in (*_EXITS, *_numpy(seed, restoring)):
            owner, name = _resolve(way)
            original = getattr(owner, name)
            restoring.callback(setattr, owner, name, original)
            setattr(owner, name, guard.closed(way, original))
        original, name = Random.seed, "seed"
        restoring.callback(setattr, Random, name, original)
        setattr(Random, name, guard.seeding(original))
        yield


def _numpy(seed: int, restoring: ExitStack) -> list[_Exit]:
    """The functions of NumPy's shared generator, which is seeded; none if nobody uses NumPy."""
    if "numpy" not in sys.modules:
        return []
    numpy = import_module(_NUMPY)
    shared = numpy.mtrand._rand  # noqa: SLF001  # it has no public name
    restoring.callback(shared.set_state, shared.get_state())
    shared.seed(seed % 2**32)
    return [
        _Exit(_NUMPY, name, _NUMPY_CURE)
        for name in sorted(dir(numpy))
        if (getattr(getattr(numpy, name), "__self__", None) is shared or name in _NUMPY_NAMELESS)
        and name not in {"get_state", "set_state"}
    ]


def _resolve(way: _Exit) -> tuple[Any, str]:
    owner: Any = import_module(way.module)
    *path, name = way.path.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, name


class _Guard:
    def __init__(self, chance: Random, on_escape: Callable[[SimulationEscape], None]) -> None:
        self._chance: Final = chance
        self._on_escape: Final = on_escape
        self._thread: Final = get_ident()

    def closed(self, way: _Exit, original: Callable[..., Any]) -> Callable[..., Any]:
        """What stands in the place of ``original``."""

        def refuse(*args: Any, **options: Any) -> Any:
            if get_ident() != self._thread:
                return original(*args, **options)
            asker = _caller()
            if asker is not None and top_package(asker) in _SEEDED:
                return self._seeded(way)(*args, **options)
            if is_harmless(asker):
                return original(*args, **options)
            called = f"{way.module}.{way.path}".removeprefix("builtins.")
            raise self._escape(called.removesuffix(".__init__"), asker, way.cure)

        return refuse

    def seeding(self, original: Callable[..., None]) -> Callable[..., None]:
        """In the place of ``Random.seed``, which also makes a generator: never from the system."""

        def seed(generator: Random, a: Any = None, version: int = 2) -> None:
            asker = _caller()
            if a is None and get_ident() == self._thread and not is_harmless(asker):
                raise self._escape("random.Random() without a seed", asker, SEED)
            original(generator, a, version)

        return seed

    def _escape(self, called: str, asker: FrameType | None, cure: Cure) -> SimulationEscape:
        error = SimulationEscape(explain(called, asker, cure))
        self._on_escape(error)
        return error

    def _seeded(self, way: _Exit) -> Callable[..., Any]:
        name = "randbytes" if way.module == "os" else way.path
        seeded: Callable[..., Any] = getattr(self._chance, name)
        return seeded


def _caller() -> FrameType | None:
    """Who called the function that asks."""
    frame = currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return frame


def explain(called: str, asker: FrameType | None, cure: Cure) -> str:
    """What is wrong, with the line of whoever asked, and what to write instead."""
    return (
        f"{place_of(asker)} calls {called}, which leaves the simulation:"
        f" a run could not be repeated. Write instead: {cure}"
    )
