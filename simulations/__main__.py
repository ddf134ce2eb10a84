"""``python -m simulations``: play the stories, and the runs that ever failed."""

import sys
import time
from pathlib import Path
from typing import Final

import click
from attrs import evolve, frozen
from rich.console import Console
from rich.table import Table

from flowactor.errors import ConfigurationError
from flowactor.simulation.marks import Marks
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.shrink import shrink
from flowactor.simulation.timeline import Timeline, render_html
from simulations import kept
from simulations.story import Run, Story, check_known, find_stories, play, play_once

MARKS_SHOWN: Final = 4


class Board:
    """The table of results, which grows as they come."""

    def __init__(self) -> None:
        self.failed = 0
        self._table: Final = Table(box=None, pad_edge=False)
        for title in ("", "runs", "events", "virtual s", "s"):
            self._table.add_column(title, justify="right" if title else "left")
        self._table.add_column("marks")

    def add(
        self,
        name: str,
        *,
        passed: bool,
        runs: int,
        events: int,
        virtual: float,
        real: float,
        marks: str,
    ) -> None:
        """Something was played."""
        self.failed += not passed
        name = f"[{'green' if passed else 'red'}]{name}[/]"
        self._table.add_row(name, str(runs), str(events), f"{virtual:.0f}", f"{real:.1f}", marks)

    def show(self, console: Console) -> None:
        """Print it."""
        console.print(self._table)


@frozen
class Player:
    """Plays what was asked for.

    Attributes:
        console: tells what goes wrong, at once.
        board: takes the results.
        depth, seeds: of the stories.
        keeping: keep what fails, as small as it can be.
        timelines: a folder for pages, if they are wanted.
    """

    console: Console
    board: Board
    depth: Depth
    seeds: int
    keeping: bool
    timelines: Path | None

    def play(self, name: str, story: Story) -> None:
        """One story."""
        pages: list[Run] = []

        def told(run: Run) -> None:
            if not pages:
                pages.append(run)

        begun = time.perf_counter()
        played = play(story, seeds=self.seeds, depth=self.depth, told=told)
        self.board.add(
            name,
            passed=played.passed,
            runs=played.runs,
            events=played.events,
            virtual=played.virtual_seconds,
            real=time.perf_counter() - begun,
            marks=_marks(played.marks, played.missing),
        )
        for run in played.failures:
            self._tell(name, run)
        if played.failures and self.keeping:
            self._keep(name, story, played.failures[0])
        for run in played.failures[:1] or pages:
            self._draw(name, run.scenario, run.outcome)

    def replay(self, name: str, once: kept.Kept) -> None:
        """A run that failed once."""
        begun = time.perf_counter()
        outcome = kept.replay(once)
        self.board.add(
            name,
            passed=outcome.failure is None,
            runs=1,
            events=outcome.events,
            virtual=outcome.virtual_seconds,
            real=time.perf_counter() - begun,
            marks=_marks(Marks(outcome.marks), ()),
        )
        if outcome.failure is not None:
            self._tell(name, Run(once.scenario, once.strike, outcome))
        self._draw(name, once.scenario, outcome)

    def _tell(self, name: str, run: Run) -> None:
        failure = run.outcome.failure
        assert failure is not None
        struck = f", struck at point {run.strike.point}" if run.strike else ""
        self.console.print(
            f"{name}, seed {run.scenario.seed}{struck}: {failure.checker} at"
            f" {failure.at_seconds:.3f} s: {failure.message}",
            style="red",
            markup=False,
            highlight=False,
        )

    def _keep(self, name: str, story: Story, run: Run) -> None:
        """Shrink a run and write it down, unless only the story itself can see what is wrong."""
        failure = run.outcome.failure
        assert failure is not None

        def again(smaller: Scenario) -> Outcome:
            tried = evolve(story, scenario=smaller)
            return play_once(tried, smaller.seed, self.depth, run.strike)

        shrunk = shrink(run.scenario, failure, again)
        folder = Path(kept.__file__).parent / "seeds"
        path = kept.keep(
            folder, name, shrunk.scenario, story.at(self.depth), shrunk.failure, run.strike
        )
        self.console.print(f"kept as {path.name}, after {shrunk.executions} runs")

    def _draw(self, name: str, scenario: Scenario, outcome: Outcome) -> None:
        if self.timelines is None:
            return
        self.timelines.mkdir(parents=True, exist_ok=True)
        timeline = Timeline.of(
            outcome.lines,
            nodes=scenario.nodes,
            title=name,
            seed=scenario.seed,
            faults=scenario.faults,
            failure=outcome.failure,
        )
        page = self.timelines / f"{name}.html"
        page.write_text(render_html(timeline), encoding="utf-8")


def _marks(marks: Marks, missing: tuple[str, ...]) -> str:
    """The most frequent ones, or those that should have been reached."""
    if missing:
        return f"[red]never: {', '.join(missing)}[/]"
    shown = sorted(+marks, key=lambda mark: (-marks[mark], mark))
    return ", ".join(f"{mark} {marks[mark]}" for mark in shown[:MARKS_SHOWN])


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--depth", type=click.Choice([depth.value for depth in Depth]), default="core")
@click.option("--seeds", type=click.IntRange(1), default=1, help="How many for each story.")
@click.option("--first-seed", type=int, help="The first of them; else that of the story.")
@click.option("--seeds-only", is_flag=True, help="Only the runs that failed once.")
@click.option("--list", "listing", is_flag=True, help="Tell the stories instead of playing them.")
@click.option("--keep", "keeping", is_flag=True, help="Shrink what fails, and keep it.")
@click.option(
    "--timeline",
    "timelines",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for a page of each: of its first run, or the first that failed.",
)
def main(
    names: tuple[str, ...],
    depth: str,
    seeds: int,
    first_seed: int | None,
    seeds_only: bool,
    listing: bool,
    keeping: bool,
    timelines: Path | None,
) -> None:
    """Play stories, all of them or those named, and replay the runs that failed once.

    Ends with code 1 if something is not as it must be.
    """
    console, board = Console(), Board()
    stories, once = find_stories(), kept.find_kept()
    try:
        check_known(names, [*stories, *once])
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    chosen = [name for name in (*stories, *once) if not names or name in names]
    player = Player(console, board, Depth(depth), seeds, keeping, timelines)
    for name in chosen:
        text = stories[name][0] if name in stories else ""
        if listing:
            text = text or once[name].text
            console.print(f"[bold]{name}[/]")
            console.print(f"{text}\n", markup=False, highlight=False)
        elif name in once:
            player.replay(name, once[name])
        elif name in stories and not seeds_only:
            story = stories[name][1]
            first = story.scenario.seed if first_seed is None else first_seed
            player.play(name, evolve(story, scenario=evolve(story.scenario, seed=first)))
    if not listing:
        board.show(console)
    sys.exit(board.failed > 0)


if __name__ == "__main__":
    main()
