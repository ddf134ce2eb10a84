"""Hypothesis strategies for simulations: clusters, fault schedules, whole scenarios.

All of a scenario is drawn before it is played (``check``), and nothing while it is: drawing inside
a run would tear Trio's loop apart. So an example is a value like any other. What is simpler is
smaller: fewer faults before earlier ones, a crash before a power cut, a fault without an end before
one with an end, the order of tasks as it is before any other.

An example plays a whole cluster for a minute or more of its time, at core depth in some hundredths
of a second: give tests ``@settings(deadline=None)``.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import permutations
from random import Random
from typing import Any, Final

from attrs import frozen
from hypothesis import strategies as st

from flowactor.client.references import workflow_name
from flowactor.errors import ConfigurationError
from flowactor.simulation import faults as f
from flowactor.simulation.chores import made_up_arguments
from flowactor.simulation.draw import draw_partition, lost_nodes
from flowactor.simulation.faults import DOWN, KINDS, Fault, end_of, nodes_of, parse_kinds
from flowactor.simulation.scenario import NODES_MAX, Act, Depth, Invariant, Scenario, Signal, Start
from flowactor.workflow import App, WorkflowDefinition

__all__ = [
    "ClusterShape",
    "clusters",
    "deviations",
    "fault_schedules",
    "playable",
    "scenarios",
]

MILLISECONDS: Final = 1000
FAULTS_MAX: Final = 8
DEVIATIONS_MAX: Final = 20
BATCHES_MAX: Final = 4096
SEED_MAX: Final = 2**32 - 1
STRATEGIES_MAX: Final = 64
EVERY_KIND: Final = tuple(KINDS)
NETWORK_KINDS: Final = frozenset(
    {"partition", "block", "slow-link", "loss", "duplicate", "reorder", "reset"}
)

Span = tuple[float, float | None]
"""When a fault begins, and when it ends, if before the end of all."""


# -- clusters -----------------------------------------------------------------------------------


@frozen
class ClusterShape:
    """What is decided of a cluster before anything happens in it.

    Attributes:
        nodes: how many.
        seed: decides all that nobody says: delays, election time-outs.
        clocks: what is wrong with clocks from the beginning to the end.
    """

    nodes: int
    seed: int
    clocks: tuple[f.ClockOffset | f.ClockDrift, ...] = ()


def clusters(
    *, sizes: Sequence[int] = (1, 3, 5), wrong_clocks: bool = True
) -> st.SearchStrategy[ClusterShape]:
    """Clusters of several sizes, in which some clocks are wrong or run at another pace.

    Args:
        sizes: numbers of nodes, the simplest first.
        wrong_clocks: whether any is.

    Raises:
        ConfigurationError: no size at all, or one that cannot be simulated.
    """
    if not sizes:
        raise ConfigurationError("clusters of no size: name one, such as sizes=(3,)")
    for size in sizes:
        _check_size(size)

    def of_size(nodes: int) -> st.SearchStrategy[ClusterShape]:
        node = st.integers(1, nodes)
        wrong = st.one_of(
            st.builds(f.ClockOffset, node, _nonzero(3600), st.just(0.0)),
            st.builds(f.ClockDrift, node, _percents(50, 200), st.just(0.0)),
        )
        clocks = st.lists(wrong, max_size=nodes if wrong_clocks else 0).map(tuple)
        return st.builds(ClusterShape, st.just(nodes), st.integers(0, SEED_MAX), clocks)

    shapes = {nodes: of_size(nodes) for nodes in sizes}
    return st.sampled_from(tuple(sizes)).flatmap(shapes.__getitem__)


def deviations() -> st.SearchStrategy[frozenset[int] | None]:
    """Where a run at node depth departs from first come, first served: nowhere, at some batches of
    tasks, or at all of them (None). See ``Scenario.deviations``.
    """
    some = st.frozensets(st.integers(1, BATCHES_MAX), max_size=DEVIATIONS_MAX)
    return st.one_of(some, st.none())


# -- schedules ----------------------------------------------------------------------------------


def fault_schedules(
    *,
    nodes: int = 3,
    seconds: float = 10.0,
    kinds: Iterable[str] = EVERY_KIND,
    max_size: int = FAULTS_MAX,
) -> st.SearchStrategy[tuple[Fault, ...]]:
    """Schedules of faults that can be played on ``nodes`` nodes, in the order in which they strike.

    Nobody is brought down who is down, and never more than a minority of the disks are spoilt.

    Args:
        nodes: how many there are.
        seconds: in which all faults begin.
        kinds: words of ``flowactor.simulation.faults.KINDS``.
        max_size: how many faults at most.

    Raises:
        ConfigurationError: a kind that there is not, or a cluster that cannot be.
    """
    _check_size(nodes)
    wanted = _wanted(kinds)
    if nodes < 2:
        wanted = tuple(kind for kind in wanted if kind not in NETWORK_KINDS)
    if not wanted:
        return st.just(())
    return _schedules(nodes, seconds, wanted, max_size)


def _wanted(kinds: Iterable[str]) -> tuple[str, ...]:
    """Also of one text, as the command line takes it."""
    return parse_kinds(kinds if isinstance(kinds, str) else ",".join(kinds) or "none")


def _check_size(nodes: int) -> None:
    if not 1 <= nodes <= NODES_MAX:
        raise ConfigurationError(f"a cluster of {nodes} nodes: 1 to {NODES_MAX} can be simulated")


@lru_cache(maxsize=STRATEGIES_MAX)
def _schedules(
    nodes: int, seconds: float, kinds: tuple[str, ...], max_size: int
) -> st.SearchStrategy[tuple[Fault, ...]]:
    """Made once: a strategy that is made anew for each example takes longer than what it draws."""
    each = st.one_of([_fault(kind, nodes, seconds) for kind in kinds])
    return st.lists(each, max_size=max_size).map(lambda drawn: playable(drawn, nodes))


def playable(drawn: Iterable[Fault], nodes: int) -> tuple[Fault, ...]:
    """These faults in the order in which they strike, without those that contradict one before them
    or would spoil the disks of a majority. To leave some out shrinks better than to refuse all.
    """
    taken: list[Fault] = []
    for fault in sorted(drawn, key=lambda fault: fault.at):
        spoilt = lost_nodes([*taken, fault])
        spoils_too_much = bool(lost_nodes([fault])) and 2 * len(spoilt) >= nodes
        if not spoils_too_much and not any(_contradict(fault, other) for other in taken):
            taken.append(fault)
    return tuple(taken)


def _contradict(one: Fault, other: Fault) -> bool:
    """Both bring a node down, at the same time."""
    if not isinstance(one, (*DOWN, f.Pause)) or not isinstance(other, (*DOWN, f.Pause)):
        return False
    forever = float("inf")
    apart = end_of(one, forever) <= other.at or end_of(other, forever) <= one.at
    return not apart and not set(nodes_of(one)).isdisjoint(nodes_of(other))


def _fault(kind: str, nodes: int, seconds: float) -> st.SearchStrategy[Fault]:
    make: Callable[..., Fault] = KINDS[kind]
    node, span = _one(st.integers(1, nodes)), _spans(seconds)
    at = span.map(lambda both: both[:1])
    match kind:
        case "crash" | "pause" | "wipe" | "disk-stall" | "disk-full":
            return _made(make, node, span)
        case "power-cut":
            some = st.sets(st.integers(1, nodes), min_size=1)
            return _made(make, _one(some.map(lambda chosen: tuple(sorted(chosen)))), span)
        case "partition":
            return _made(make, _one(_sides(nodes)), span)
        case "block" | "reorder":
            return _made(make, _links(nodes), span)
        case "loss" | "duplicate":
            return _made(make, _links(nodes), _one(_percents(1, 100)), span)
        case "slow-link":
            return _made(make, _links(nodes), _one(_seconds(5)), span)
        case "reset":
            return _made(make, _links(nodes), at)
        case "clock-offset":
            return _made(make, node, _one(_nonzero(3600)), span)
        case "clock-drift":
            return _made(make, node, _one(_percents(25, 400)), span)
        case "clock-jump":
            return _made(make, node, _one(_nonzero(3600)), at)
        case "disk-slow":
            return _made(make, node, _one(_seconds(3)), span)
        case "sync-error":
            return st.one_of(_made(make, node, at), _made(make, node, span, st.just((True,))))
        case _:  # bit-flip, misdirected-write
            place = st.integers(0, 999).map(lambda thousandths: thousandths / 1000)
            return _made(make, node, _one(place), at)


@st.composite
def _made(
    draw: st.DrawFn,
    make: Callable[..., Fault],
    *parts: st.SearchStrategy[tuple[Any, ...]],
) -> Fault:
    """The fault of the arguments that all parts come to. Made here, and not by ``builds``, it is
    shown by Hypothesis as people write it.
    """
    return make(*[argument for part in parts for argument in draw(part)])


def _one(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any]]:
    """A single argument."""
    return strategy.map(lambda value: (value,))


# -- numbers and places -------------------------------------------------------------------------


def _seconds(most: float, least: float = 0.001) -> st.SearchStrategy[float]:
    """In whole milliseconds: few enough to shrink well, and readable."""
    low, high = (round(number * MILLISECONDS) for number in (least, most))
    return st.integers(low, high).map(lambda number: number / MILLISECONDS)


def _nonzero(most: int) -> st.SearchStrategy[float]:
    return st.integers(-most, most).filter(bool).map(float)


def _percents(least: int, most: int) -> st.SearchStrategy[float]:
    return st.integers(least, most).map(lambda number: number / 100)


def _spans(seconds: float) -> st.SearchStrategy[Span]:
    lengths = st.one_of(st.none(), _seconds(seconds))

    def span(at: float, length: float | None) -> Span:
        until = None if length is None else round(at + length, 3)
        return at, until if until is not None and until < seconds else None

    return st.builds(span, _seconds(seconds, 0.0), lengths)


def _links(nodes: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.sampled_from(list(permutations(range(1, nodes + 1), 2)))


def _sides(nodes: int) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """One node alone, then any shape that a swarm plays."""
    everyone = range(1, nodes + 1)
    alone = [((one,), tuple(other for other in everyone if other != one)) for one in everyone]
    shapes = st.integers(0, 999).map(lambda number: draw_partition(Random(number), nodes))
    return st.one_of(st.sampled_from(alone), shapes)


# -- scenarios ----------------------------------------------------------------------------------


def scenarios(
    app: App,
    workflow: type | str,
    arguments: tuple[Any, ...] | st.SearchStrategy[tuple[Any, ...]] = (),
    *,
    runs: int = 3,
    shapes: st.SearchStrategy[ClusterShape] | None = None,
    kinds: Iterable[str] = EVERY_KIND,
    seconds: float = 10.0,
    healing_seconds: float = 60.0,
    depth: Depth = Depth.CORE,
    invariants: Iterable[Invariant] = (),
) -> st.SearchStrategy[Scenario]:
    """Whole scenarios: some runs of a workflow, on some cluster, on a bad day.

    Signals that something can be made up for are sent once to each run.

    Args:
        app: the code.
        workflow: whose runs are started: the class, or the type's name.
        arguments: of each run, as JSON-like plain values, or a strategy for them.
        runs: how many at most; they are called ``run-1`` and so on.
        shapes: of the cluster; usually ``clusters()`` of three nodes.
        kinds: of fault.
        seconds: of virtual time in which runs are started and faults begin.
        healing_seconds: of virtual time after that, for everything to come to its end.
        depth: at which it will be played; the order of tasks is drawn for node depth alone.
        invariants: the user's own checks.

    Raises:
        InvalidInput: the workflow does not take the arguments.
        UnknownWorkflowType: the app has no such workflow.
    """
    definition = app.get(workflow_name(workflow))
    given = arguments if isinstance(arguments, st.SearchStrategy) else st.just(arguments)
    given = given.map(lambda chosen: _fitting(definition, chosen))
    each = clusters(sizes=(3,)) if shapes is None else shapes
    wanted = _wanted(kinds)
    checks = tuple(invariants)

    @st.composite
    def scenario(draw: st.DrawFn) -> Scenario:
        shape = draw(each)
        schedule = draw(fault_schedules(nodes=shape.nodes, seconds=seconds, kinds=wanted))
        count = draw(st.integers(1, runs))
        acts = [
            act
            for number in range(1, count + 1)
            for act in _run(draw, definition, f"run-{number}", draw(given), seconds)
        ]
        return Scenario(
            app=app,
            nodes=shape.nodes,
            seed=shape.seed,
            acts=tuple(sorted(acts, key=lambda act: act.at)),
            faults=(*shape.clocks, *schedule),
            seconds=seconds,
            healing_seconds=healing_seconds,
            invariants=checks,
            deviations=draw(deviations()) if depth is Depth.NODE else None,
        )

    return scenario()


def _fitting(definition: WorkflowDefinition, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raises:
    InvalidInput: the workflow does not take them.
    """
    definition.run.encode_json(list(arguments))
    return arguments


def _run(
    draw: st.DrawFn,
    definition: WorkflowDefinition,
    workflow_id: str,
    arguments: tuple[Any, ...],
    seconds: float,
) -> list[Act]:
    begin = draw(_seconds(seconds, 0.0))
    acts: list[Act] = [Start(begin, definition.name, workflow_id, arguments)]
    for name, handler in definition.signals.items():
        made_up = made_up_arguments(handler.signature, Random(draw(st.integers(0, 99))))
        if made_up is not None:
            acts.append(Signal(draw(_seconds(seconds, begin)), workflow_id, name, made_up))
    return acts
