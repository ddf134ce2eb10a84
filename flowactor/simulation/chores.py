"""What clients do in a run that a seed made up: starts, signals, queries, and a few variables.

Runs of the workflow are what the user asked about. The variables beside them are there for the
checker of linearizability, so clients write values that are never written twice.
"""

import enum
import types
import typing
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from flowactor.errors import InvalidInput
from flowactor.simulation.scenario import (
    Act,
    AskQuery,
    Cancel,
    CompareAndSet,
    Read,
    Signal,
    Start,
    Terminate,
    Write,
)
from flowactor.workflow import Signature, WorkflowDefinition

__all__ = ["draw_acts", "draw_run", "made_up_arguments"]

CLIENTS: Final = (1, 2, 3, 4)
KEYS: Final = ("x", "y", "z")


def draw_acts(
    chance: Random,
    definition: WorkflowDefinition,
    arguments: tuple[Any, ...],
    *,
    seconds: float,
    cancels: bool = False,
) -> tuple[Act, ...]:
    """What all clients do, in the order in which they do it.

    Args:
        chance: decides.
        definition: the workflow whose runs are started: at least one.
        arguments: of all these runs.
        seconds: of virtual time in which it is done.
        cancels: now and then cancel or terminate a run.
    """
    acts: list[Act] = []
    for number in range(1, chance.randint(1, chance.choice((1, 1, 3, 8))) + 1):
        acts += _one_run(chance, definition, f"run-{number}", arguments, seconds, cancels=cancels)
    if chance.random() < 0.5:
        acts += _variables(chance, seconds)
    return tuple(sorted(acts, key=lambda act: act.at))


def draw_run(
    chance: Random, definition: WorkflowDefinition, arguments: tuple[Any, ...], seconds: float
) -> tuple[Act, ...]:
    """One run and no more, started at once, and each signal once that something can be made up for.

    Args:
        chance: makes up the arguments of signals.
        definition: of the workflow.
        arguments: of the run.
        seconds: of virtual time; signals come after half of them.
    """
    acts: list[Act] = [Start(0.0, definition.name, "run-1", arguments)]
    for name, handler in definition.signals.items():
        made_up = made_up_arguments(handler.signature, chance)
        if made_up is not None:
            acts.append(Signal(seconds / 2, "run-1", name, made_up))
    return tuple(acts)


def _one_run(
    chance: Random,
    definition: WorkflowDefinition,
    workflow_id: str,
    arguments: tuple[Any, ...],
    seconds: float,
    *,
    cancels: bool,
) -> Iterator[Act]:
    client = chance.choice(CLIENTS)
    begin = chance.choice((0.0, _between(chance, 0, min(1, seconds)), _between(chance, 0, seconds)))
    yield Start(begin, definition.name, workflow_id, arguments, client=client)
    if chance.random() < 1 / 4:
        again = _between(chance, begin, min(begin + 0.5, seconds))
        yield Start(again, definition.name, workflow_id, arguments, client=chance.choice(CLIENTS))
    for name, handler in definition.signals.items():
        for at in _moments(chance, begin, seconds, least=1):
            made_up = made_up_arguments(handler.signature, chance)
            if made_up is not None:
                yield Signal(at, workflow_id, name, made_up, client)
    for name, handler in definition.queries.items():
        for at in _moments(chance, begin, seconds, least=0):
            made_up = made_up_arguments(handler.signature, chance)
            if made_up is not None:
                yield AskQuery(at, workflow_id, name, made_up, chance.choice(CLIENTS))
    if cancels and chance.random() < 1 / 6:
        kind = chance.choice((Cancel, Cancel, Terminate))
        yield kind(_between(chance, begin, seconds), workflow_id, chance.choice(CLIENTS))


def _variables(chance: Random, seconds: float) -> Iterator[Act]:
    """A few clients at few variables: where they meet is what is to be checked."""
    names = KEYS[: chance.randint(1, len(KEYS))]
    clients = CLIENTS[: chance.randint(1, len(CLIENTS))]
    for value in range(1, chance.randint(2, 40) + 1):
        at, name = _between(chance, 0, seconds), chance.choice(names)
        client = chance.choice(clients)
        match chance.choices(("read", "write", "compare", "delete"), (8, 5, 4, 1))[0]:
            case "read":
                yield Read(at, name, client)
            case "write":
                yield Write(at, name, value, client)
            case "compare":
                yield CompareAndSet(at, name, value, client)
            case _:
                yield Write(at, name, None, client)


def _between(chance: Random, low: float, high: float) -> float:
    return max(low, min(round(chance.uniform(low, high), 3), high))


def _moments(chance: Random, begin: float, seconds: float, *, least: int) -> list[float]:
    count = chance.randint(least, chance.choice((1, 1, 3)))
    return [_between(chance, begin, seconds) for _ in range(count)]


# -- arguments ----------------------------------------------------------------------------------


def made_up_arguments(signature: Signature, chance: Random) -> tuple[Any, ...] | None:
    """Plain values for what a handler must be given; None if it asks for more than can be made up:
    numbers, texts, truths, members of an enum, and lists of nothing.
    """
    required = list(signature.hints.values())[: signature.required]
    try:
        values = tuple(_made_up(hint, chance) for hint in required)
        signature.encode_json(list(values))
    except InvalidInput:
        return None
    return values


def _made_up(hint: Any, chance: Random) -> Any:
    """Raises:
    InvalidInput: nothing can be made up for it.
    """
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _made_up(chance.choice(typing.get_args(hint)), chance)
    if origin is typing.Literal:
        return chance.choice(typing.get_args(hint))
    if hint is bool:
        return chance.random() < 0.5
    if hint in (int, float, Any):
        return chance.randint(0, 9)
    if hint is str:
        return chance.choice("abc")
    if hint is type(None):
        return None
    if origin in (list, tuple) or hint is list:
        return []
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return chance.choice([member.value for member in hint])
    raise InvalidInput(f"no value can be made up for {hint}")
