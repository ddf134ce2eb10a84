"""What ``simulate`` is asked to do, as a plain fact: worker processes get it too."""

import json
import multiprocessing
import shlex
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

from attrs import fields_dict, frozen

from flowactor.cli.node_command import load_app, load_attribute
from flowactor.errors import ConfigurationError
from flowactor.simulation.campaign import play
from flowactor.simulation.chores import draw_run
from flowactor.simulation.draw import draw_scenario
from flowactor.simulation.faults import KINDS
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Invariant, Scenario, check_invariants
from flowactor.simulation.source import script_of
from flowactor.simulation.strike import Strike
from flowactor.workflow import App

__all__ = ["Plan"]

T = TypeVar("T")

SEEDS_AT_ONCE: Final = 4
"""Handed to a worker together: few, so that little is done in vain after a failure."""


@frozen(kw_only=True)
class Plan:
    """Which runs to simulate, but for their seeds.

    Attributes:
        app_path: ``MODULE:ATTR``.
        workflow: the type whose runs are started; empty: the only one there is.
        input: of these runs, as JSON: an array of arguments, or the only one.
        kinds: of fault.
        nodes: how many.
        depth: of the simulation.
        seconds: of virtual time in which faults happen.
        healing_seconds: of virtual time for everything to come to its end afterwards.
        cancels: now and then cancel or terminate a run.
        invariants: the user's own checks, each ``MODULE:FUNCTION``.
    """

    app_path: str
    workflow: str = ""
    input: str = "[]"
    kinds: tuple[str, ...] = tuple(KINDS)
    nodes: int = 3
    depth: Depth = Depth.CORE
    seconds: float = 10.0
    healing_seconds: float = 60.0
    cancels: bool = False
    invariants: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be simulated, before anything is.

        Raises:
            ConfigurationError: there is no such app or check, or several workflows to choose from.
            UnknownWorkflowType: the app does not have the workflow.
            InvalidInput: the workflow does not take the input; names the field.
        """
        self.draw(0)
        self.app.get(self._type()).run.encode_json(self.input)

    @property
    def app(self) -> App:
        """The app; its module is imported once in a process."""
        return load_app(self.app_path, "MODULE:APP")

    # -- scenarios --------------------------------------------------------------------------------

    def draw(self, seed: int) -> Scenario:
        """The scenario of this seed."""
        return draw_scenario(
            self.app,
            seed,
            workflow=self._type(),
            arguments=self._arguments(),
            nodes=self.nodes,
            kinds=self.kinds,
            seconds=self.seconds,
            healing_seconds=self.healing_seconds,
            cancels=self.cancels,
            invariants=self._checks(),
        )

    def quiet(self, seed: int) -> Scenario:
        """One run of the workflow with nothing that goes wrong, for an exhaustive search."""
        definition = self.app.get(self._type())
        acts = draw_run(Random(f"quiet {seed}"), definition, self._arguments(), self.seconds)
        return Scenario(
            app=self.app,
            nodes=self.nodes,
            seed=seed,
            acts=acts,
            seconds=self.seconds,
            healing_seconds=self.healing_seconds,
            invariants=self._checks(),
            deviations=frozenset(),
        )

    def _type(self) -> str:
        """The workflow's type: of several one has to be named."""
        if self.workflow:
            return self.workflow
        names = sorted({name for name, _ in self.app.registered})
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise ConfigurationError(f"name one with --workflow; the app has: {listed}")
        return names[0]

    def _arguments(self) -> tuple[Any, ...]:
        given = json.loads(self.input)
        return tuple(given) if isinstance(given, list) else (given,)

    def _checks(self) -> tuple[Invariant, ...]:
        checks = tuple(load_attribute(path, "--invariant") for path in self.invariants)
        for path, check in zip(self.invariants, checks, strict=True):
            try:
                check_invariants((check,))
            except ConfigurationError as error:
                raise ConfigurationError(f"--invariant {path!r}: {error}") from error
        return checks

    # -- runs -------------------------------------------------------------------------------------

    def run(self, scenario: Scenario) -> Outcome:
        """Simulate it."""
        return simulate(scenario, self.depth)

    def watch(self, scenario: Scenario, strike: Strike | None = None) -> Outcome:
        """Simulate it, and keep the whole record."""
        return simulate(scenario, self.depth, keep=True, strike=strike)

    def strike(self, seed: int, strike: Strike) -> Outcome:
        """Simulate the quiet scenario of this seed, and strike it."""
        return simulate(self.quiet(seed), self.depth, strike=strike)

    def script(
        self, scenario: Scenario, failure: Failure | None, strike: Strike | None = None
    ) -> str:
        """The scenario as Python that repeats it."""
        return script_of(
            scenario, app=self.app_path, depth=self.depth, failure=failure, strike=strike
        )

    @contextmanager
    def outcomes(self, seeds: Iterable[int], jobs: int) -> Iterator[Iterator[Outcome]]:
        """The outcomes of these seeds, in order, made by so many processes."""
        if jobs == 1:
            yield play(seeds, self.draw, self.run)
        else:
            with _spread(partial(_play_one, self), seeds, jobs) as outcomes:
                yield outcomes

    @contextmanager
    def struck(
        self, seed: int, strikes: Iterable[Strike], jobs: int
    ) -> Iterator[Iterator[Outcome]]:
        """The outcomes of the quiet run of this seed for these strikes, in order."""
        if jobs == 1:
            yield map(partial(self.strike, seed), strikes)
        else:
            with _spread(partial(_strike_one, self, seed), strikes, jobs) as outcomes:
                yield outcomes

    # -- telling ----------------------------------------------------------------------------------

    def command(self, *more: str) -> str:
        """The command line that asks for these runs, and for more."""
        words = ["python", "-m", "flowactor", "simulate", self.app_path]
        for name, field in fields_dict(Plan).items():
            value = getattr(self, name)
            if name == "app_path" or value == field.default:
                continue
            match name, value:
                case "kinds", _:
                    words += ["--faults", ",".join(value) or "none"]
                case "depth", Depth():
                    words += ["--depth", value.value]
                case "invariants", _:
                    words += [word for path in value for word in ("--invariant", path)]
                case _, bool():
                    words.append(f"--{name}")
                case _, float():
                    words += [f"--{name.replace('_', '-')}", repr(value)]
                case _:
                    words += [f"--{name}", str(value)]
        return shlex.join([*words, *more])


def _play_one(plan: Plan, seed: int) -> Outcome:
    return next(play((seed,), plan.draw, plan.run))


def _strike_one(plan: Plan, seed: int, strike: Strike) -> Outcome:
    return plan.strike(seed, strike)


@contextmanager
def _spread(
    work: Callable[[T], Outcome], items: Iterable[T], jobs: int
) -> Iterator[Iterator[Outcome]]:
    """Results of ``work``, in order; what was not begun when the block is left never is."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield pool.map(work, items, chunksize=SEEDS_AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)
