"""What is to be simulated: one description, which runs at both depths.

A scenario says everything: the code, the nodes, what clients ask and when, what goes wrong and
when, and the seed that decides all the rest (delays, election time-outs, the order of tasks). The
same scenario is the same run, to the byte, in every process.

A run has three phases::

    0 s                        seconds                    at most seconds + healing_seconds
    |-- faults strike --------|-- all faults end --------|
        safety is checked         and everything that was asked must come to an end
        after each event          (liveness), unless it is in the frozen part (``core``)
"""

import enum
from collections.abc import Callable, Coroutine, Iterable
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction, signature
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Change, Join, check_changes
from flowactor.simulation.faults import Fault, check_faults
from flowactor.workflow import App

if TYPE_CHECKING:
    from flowactor.simulation.world import World

__all__ = [
    "NODES_MAX",
    "Act",
    "AskQuery",
    "Cancel",
    "CompareAndSet",
    "Depth",
    "Invariant",
    "Read",
    "Scenario",
    "Signal",
    "Start",
    "Terminate",
    "Write",
    "check_invariants",
    "judge_world",
]


NODES_MAX: Final = 9
"""Of a cluster when it is founded."""


class Depth(enum.Enum):
    """How much of flowactor is in the run."""

    CORE = "core"
    """Raft, the machine and the interpreters on a heap of events: everything that decides."""
    NODE = "node"
    """Whole nodes, as they run in production, on made-up clocks, links and disks."""


# -- what clients do ----------------------------------------------------------------------------


@frozen
class Start:
    """Start a run of ``workflow`` (a type name) with ``arguments`` as JSON-like plain values."""

    at: float
    workflow: str
    id: str
    arguments: tuple[Any, ...] = ()
    version: int = 0
    client: int = 1


@frozen
class Signal:
    """Signal the current run of a workflow id."""

    at: float
    id: str
    name: str
    arguments: tuple[Any, ...] = ()
    client: int = 1


@frozen
class AskQuery:
    """Ask a query of the current run of a workflow id."""

    at: float
    id: str
    name: str
    arguments: tuple[Any, ...] = ()
    client: int = 1


@frozen
class Cancel:
    """Ask a run to end with its clean-up."""

    at: float
    id: str
    client: int = 1


@frozen
class Terminate:
    """End a run at once."""

    at: float
    id: str
    client: int = 1


@frozen
class Write:
    """Set a stand-alone variable; ``value`` None deletes it."""

    at: float
    name: str
    value: int | None
    client: int = 1


@frozen
class CompareAndSet:
    """Set a stand-alone variable if it is at the version that this client saw last."""

    at: float
    name: str
    value: int
    client: int = 1


@frozen
class Read:
    """Read a stand-alone variable, linearizably."""

    at: float
    name: str
    client: int = 1


Act = Start | Signal | AskQuery | Cancel | Terminate | Write | CompareAndSet | Read

Invariant = Callable[["World"], None]
"""A check of the user's own: raises ``AssertionError`` if the world is not as it must be. Called at
the end of every run; what must never be, even for a moment, belongs into a ledger's own check.
"""


def check_invariants(invariants: Iterable[Any]) -> None:
    """Refuse what cannot be called with the world, or would only make a coroutine then.

    Raises:
        ConfigurationError: names it.
    """
    for invariant in invariants:
        name = getattr(invariant, "__qualname__", repr(invariant))
        if not callable(invariant):
            raise ConfigurationError(f"the invariant {name} is no function")
        if iscoroutinefunction(invariant) or isasyncgenfunction(invariant):
            raise ConfigurationError(
                f"the invariant {name} is async: nobody would await it. Write a plain def; a world"
                " that is looked at stands still"
            )
        try:
            signature(invariant).bind(object())
        except TypeError as error:
            raise ConfigurationError(
                f"the invariant {name} must take the world as its one argument: {error}"
            ) from error
        except ValueError:
            continue  # made in C: what it takes is not known


def judge_world(invariants: Iterable[Invariant], world: "World") -> None:
    """Call all of them.

    Raises:
        ConfigurationError: one returned what has to be awaited, so it has checked nothing.
        Exception: whatever one raises.
    """
    for invariant in invariants:
        result: object = invariant(world)
        if isawaitable(result):
            if isinstance(result, Coroutine):
                result.close()
            name = getattr(invariant, "__qualname__", repr(invariant))
            raise ConfigurationError(
                f"the invariant {name} returned what has to be awaited, and checked nothing: write"
                " a plain def"
            )


@frozen(kw_only=True)
class Scenario:
    """One run of a simulated cluster.

    Attributes:
        app: the code that every node has; the simulator's own clients start it by type name.
        nodes: how many found the cluster, all of them voters.
        seed: decides everything that is not said here.
        acts: what clients do.
        faults: what goes wrong.
        changes: who comes and goes; at node depth only.
        seconds: of virtual time until all faults end.
        healing_seconds: of virtual time after that, for everything to come to its end.
        horizon_seconds: runs that sleep for less than this are waited for in the end, and time is
            skipped until they wake; others may stay open.
        core: the nodes that are healed, a majority; the others stay frozen as they are. Empty: all.
        invariants: the user's own checks.
        sockets: at node depth, WebSockets in all their bytes, or whole frames for speed.
        deviations: at node depth, where the order of tasks is not first come, first served: numbers
            of batches, which the seed shuffles; None: all of them.

    Raises:
        ConfigurationError: something in it cannot be; the message says what.
        UnknownWorkflowType: a client starts what the app does not have.
        InvalidInput: or with arguments that do not fit.
    """

    app: App
    nodes: int = 3
    seed: int = 0
    acts: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    changes: tuple[Change, ...] = ()
    seconds: float = 10.0
    healing_seconds: float = 60.0
    horizon_seconds: float = 400 * 86_400.0
    core: tuple[int, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    sockets: bool = True
    deviations: frozenset[int] | None = None

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.nodes <= NODES_MAX:
            raise ConfigurationError(
                f"a cluster of {self.nodes} nodes: 1 to {NODES_MAX} can be simulated"
            )
        for name in ("seconds", "healing_seconds", "horizon_seconds"):
            if not isfinite(value := getattr(self, name)):
                raise ConfigurationError(f"{name}={value} is no length of time")
        if self.seconds <= 0 or self.healing_seconds <= 0:
            raise ConfigurationError("both phases of a run need more than 0 seconds")
        check_invariants(self.invariants)
        check_changes(self.changes, self.faults, self.nodes)
        check_faults(self.faults, self.machines)
        late = [one for one in (*self.faults, *self.changes) if one.at > self.seconds]
        if late:
            raise ConfigurationError(f"{late[0]} begins after the faults end, at {self.seconds:g}")
        if self.core and (len(set(self.core)) * 2 <= self.nodes or max(self.core) > self.machines):
            raise ConfigurationError(f"core {self.core} is no majority of {self.nodes} nodes")
        for act in self.acts:
            if not isfinite(act.at) or act.at < 0:
                raise ConfigurationError(f"{act}: it has to happen at some time of the run")
            if isinstance(act, Start):
                definition = self.app.get(act.workflow, act.version)
                definition.run.encode_json(list(act.arguments))

    @property
    def machines(self) -> int:
        """How many there are in the end: those of the founders, and those that join."""
        return self.nodes + sum(isinstance(change, Join) for change in self.changes)
