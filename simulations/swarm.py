"""The swarm: clusters, chores and bad days, all drawn from the seed.

    python -m simulations.swarm --seeds 10000 --jobs 2            core depth
    python -m simulations.swarm --depth node --seeds 500 --jobs 2
    python -m simulations.swarm --minutes 3 --jobs 2              as many as there is time for

Every run is checked by all that flowactor promises, and by what ``workflows`` expects of each
chore. The first failure is shrunk, and told as a script for ``simulations/seeds``. Code 1 if
anything failed; with ``--marks`` also if a rare state was never reached.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from random import Random

from attrs import evolve

from flowactor.simulation.campaign import Campaign, play, run_campaign
from flowactor.simulation.changes import Change
from flowactor.simulation.draw import draw_bad_day, draw_deviations
from flowactor.simulation.faults import KINDS, Wipe
from flowactor.simulation.lineup import (
    Lineup,
    draw_absences,
    draw_blows,
    draw_changes,
    draw_lineup,
    draw_orders,
    draw_shapes,
)
from flowactor.simulation.marks import CHANGING, EXPECTED, RESHAPING
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.quarrels import NODES, draw_quarrel
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Act, Depth, Scenario
from flowactor.simulation.source import script_of
from flowactor.simulation.strike import Strike
from simulations.chores import CHORES, INVARIANTS, chore, registers
from simulations.workflows import app

HEALING_SECONDS = 90.0
ORDERED = 0.7
"""Odds that in a cluster that changes groups are made and slots moved as well."""
NIGHTS = 0.2
"""Of all runs."""
NIGHT_SECONDS = 20.0
EVENING_SECONDS = 2.0


def draw(seed: int) -> Scenario:
    """Everything there is, from a seed: the same in every process."""
    chance = Random(f"swarm {seed}")
    nodes = chance.choice((1, 3, 3, 3, 5))
    return _draw(seed, chance, Lineup(nodes, 0))


def draw_changing(seed: int) -> Scenario:
    """As ``draw``, for node depth; in half of the runs the cluster changes as well."""
    chance = Random(f"lineup {seed}")
    if chance.random() < 0.5:
        return draw(seed)
    return _draw(seed, Random(f"swarm {seed}"), draw_lineup(chance), chance)


def draw_reshaping(seed: int) -> Scenario:
    """As ``draw``, for core depth; in a third of the runs it changes who votes, and in some of
    those two leaders quarrel about it.
    """
    chance, scenario = Random(f"shapes {seed}"), draw(seed)
    if scenario.nodes < 3 or chance.random() > 1 / 3:
        return scenario
    if chance.random() < 1 / 4:
        quarrel = draw_quarrel(chance)
        return evolve(
            scenario,
            nodes=NODES,
            acts=quarrel.acts,
            faults=quarrel.faults,
            changes=quarrel.shapes,
            seconds=quarrel.seconds,
            core=(),
            invariants=(),
        )
    return evolve(scenario, changes=draw_shapes(chance, scenario.nodes, scenario.seconds))


def draw_at(depth: Depth) -> Callable[[int], Scenario]:
    """What draws the runs of this depth."""
    return draw_reshaping if depth is Depth.CORE else draw_changing


def _draw(seed: int, chance: Random, lineup: Lineup, changing: Random | None = None) -> Scenario:
    # At night all is done early, and what goes wrong later finds everybody asleep.
    is_night = Random(f"night {seed}").random() < NIGHTS
    seconds = chance.choice((4.0, 8.0, 15.0))
    seconds = NIGHT_SECONDS if is_night else seconds
    day = draw_bad_day(seed, nodes=lineup.machines, kinds=tuple(KINDS), seconds=seconds)
    acts: list[Act] = []
    for number in range(1, chance.choice((1, 3, 6, 12)) + 1):
        at = round(chance.uniform(0, EVENING_SECONDS if is_night else seconds / 2), 3)
        name = chance.choice(tuple(CHORES))
        acts += chore(name, at, number=number, client=chance.randint(1, 4))
    if chance.random() < 0.5:
        every = chance.choice((0.05, 0.2))
        acts += registers(EVENING_SECONDS if is_night else seconds, every=every)
    seconds = max(seconds, *(act.at for act in acts))
    changes: tuple[Change, ...] = ()
    faults = day.faults
    if lineup.nodes == 1:
        # Who founded a cluster alone founds another one on an empty disk: it is told nothing else.
        faults = tuple(f for f in faults if not (isinstance(f, Wipe) and f.node == 1))
    if changing:
        changes = draw_changes(changing, lineup, day.faults, seconds)
        if changing.random() < ORDERED:
            changes += draw_orders(changing, lineup, seconds)
        faults += draw_blows(Random(f"blows {seed}"), lineup, changes, faults, seconds)
        faults += draw_absences(Random(f"absences {seed}"), lineup, changes, faults, seconds)
    return Scenario(
        app=app,
        nodes=lineup.nodes,
        seed=seed,
        acts=day.beside(acts),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        changes=changes,
        seconds=seconds,
        healing_seconds=HEALING_SECONDS,
        core=_core(changing, lineup) if changing else day.core,
        invariants=INVARIANTS,
        sockets=chance.random() < 0.3,
        deviations=draw_deviations(Random(f"deviations {seed}")),
    )


def _core(chance: Random, lineup: Lineup) -> tuple[int, ...]:
    """In some runs one machine or two stay as they are. Whether the others are a majority of each
    group nobody can say before.
    """
    left = 1 if lineup.machines < 5 else chance.randint(1, 2)
    if lineup.machines < 3 or chance.random() > 1 / 6:
        return ()
    return tuple(sorted(chance.sample(range(1, lineup.machines + 1), lineup.machines - left)))


def draw_strike(seed: int) -> Strike | None:
    """In some runs one blow more, where it hurts: a crash by the clock seldom hits a step."""
    chance = Random(f"strike {seed}")
    if chance.random() < 0.6:
        return None
    kind = chance.choice(("owner-crash", "owner-crash", "partition"))
    return Strike(kind, int(2 ** chance.uniform(0, 8)), round(chance.uniform(0.1, 6), 3))


def play_one(depth: Depth, scenario: Scenario) -> Outcome:
    """One run of a scenario of the swarm, or of a smaller one made of it."""
    return simulate(scenario, depth, strike=draw_strike(scenario.seed))


def run(depth: Depth, seed: int) -> Outcome:
    """One run, in whatever process."""
    return next(play((seed,), draw_at(depth), partial(play_one, depth)))


@contextmanager
def outcomes(depth: Depth, seeds: Iterable[int], jobs: int) -> Iterator[Iterator[Outcome]]:
    """The outcomes of these seeds, in order."""
    if jobs == 1:
        yield map(partial(run, depth), seeds)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield _in_order(pool, partial(run, depth), seeds, 4 * jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[int], Outcome], seeds: Iterable[int], ahead: int
) -> Iterator[Outcome]:
    """A few are always under way: so many seeds may be asked for that nobody could queue them."""
    waiting = []
    for seed in seeds:
        waiting.append(pool.submit(work, seed))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def until(deadline: float, seeds: Iterable[int]) -> Iterator[int]:
    """Seeds for as long as there is time."""
    for seed in seeds:
        if time.monotonic() > deadline:
            return
        yield seed


def play_all(options: argparse.Namespace) -> Campaign:
    """The whole swarm."""
    depth = Depth(options.depth)
    seeds: Iterable[int] = range(options.first, options.first + options.seeds)
    if options.minutes:
        seeds = until(time.monotonic() + options.minutes * 60, count(options.first))
    done = count(1)

    def tell(_: Outcome) -> None:
        number = next(done)
        if sys.stderr.isatty():
            print(f"\r{number} seeds", end="", file=sys.stderr, flush=True)

    with outcomes(depth, seeds, options.jobs) as found:
        return run_campaign(
            found,
            draw_at(depth),
            partial(play_one, depth),
            script=lambda scenario, failure: script_of(
                scenario,
                app="simulations.workflows:app",
                depth=depth,
                failure=failure,
                strike=draw_strike(scenario.seed),
            ),
            now=time.perf_counter,
            keep_going=options.keep_going,
            budget=options.shrink,
            progress=tell,
        )


def report(campaign: Campaign, options: argparse.Namespace) -> int:
    """Print what came of it; the exit code."""
    changing = RESHAPING if Depth(options.depth) is Depth.CORE else CHANGING
    expected = {**EXPECTED, **changing}
    missing = campaign.marks.missing(expected)
    if options.json:
        print(json.dumps(campaign.as_dict()))
    else:
        for found in campaign.failures:
            print(f"seed {found.seed}: {found.failure.checker}: {found.failure.message}")
        if campaign.failures:
            print(f"\n{campaign.failures[0].schedule}")
        for name, times in campaign.marks.as_dict().items():
            print(f"{times:8}  {name}")
        if missing:
            print(f"never reached: {', '.join(missing)}")
        print(
            f"{options.depth}: {campaign.seeds} seeds, {len(campaign.failures)} failed;"
            f" {campaign.virtual_seconds:,.0f} virtual seconds in {campaign.real_seconds:.0f} s,"
            f" {campaign.per_second(campaign.seeds):.1f} seeds/s,"
            f" {campaign.per_second(campaign.events):,.0f} events/s"
        )
    return int(bool(campaign.failures) or (options.marks and bool(missing)))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations.swarm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--depth", choices=[depth.value for depth in Depth], default="core")
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--first", type=int, default=0, help="the lowest of them")
    parser.add_argument("--minutes", type=float, help="instead of --seeds: for so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--shrink", type=int, default=300, help="runs to shrink a failure with")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    parser.add_argument("--marks", action="store_true", help="fail if a mark was never reached")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    return report(play_all(options), options)


if __name__ == "__main__":
    sys.exit(main())
