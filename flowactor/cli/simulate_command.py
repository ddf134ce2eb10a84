"""``simulate``: a cluster and its workflows in a made-up world where everything breaks that can."""

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from flowactor.cli.exits import Exit
from flowactor.cli.node_command import fix_hash_seed
from flowactor.cli.options import call_to_exit, check_json, json_option
from flowactor.cli.output import Output
from flowactor.cli.simulate_plan import Plan
from flowactor.cluster.system import SystemClock
from flowactor.errors import ConfigurationError
from flowactor.limits import NANOSECONDS
from flowactor.simulation.campaign import Campaign, Found, run_campaign
from flowactor.simulation.exhaustive import Exhaustive, every_strike, strike_everywhere
from flowactor.simulation.faults import KINDS, parse_kinds
from flowactor.simulation.marks import EXPECTED
from flowactor.simulation.outcome import ENDLESS, Outcome
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.shrink import BUDGET
from flowactor.simulation.strike import STRIKES
from flowactor.simulation.timeline import Timeline, render_html, render_svg, render_text

__all__ = ["simulate"]

SEEDS: Final = 100
STRUCK_SECONDS: Final = 3.0
"""Twice the lease of an owner: another node gets the run, and then the old one comes back."""

TOLD_MAX: Final = 5
"""Places told at which runs wait for ever, and errors with which they fail."""

EPILOG: Final = f"""\b
Faults:
  {textwrap.fill(", ".join(KINDS), 76, subsequent_indent="  ", break_on_hyphens=False)}

\b
Exhaustive:
{chr(10).join(f"  {kind:12} {what}" for kind, what in STRIKES.items())}

\b
Examples:
  python -m flowactor simulate orders:app --workflow ProcessOrder --input '["lamp"]'
  python -m flowactor simulate orders:app --faults crash,partition --seeds 10000
  python -m flowactor simulate orders:app --seed 17
  python -m flowactor simulate orders:app --exhaustive owner-crash
"""


def check_kinds(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Kinds of fault; a word that is none is a usage error."""
    try:
        return parse_kinds(value)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


class _Seconds(click.FloatRange):
    """A length of time: more than nothing, and not for ever."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See ``ParamType``."""
        seconds: float = super().convert(value, param, ctx)
        if not isfinite(seconds):
            self.fail(f"{value} is no length of time.", param, ctx)
        return seconds


def check_timeline(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Where a timeline can be written, before hours of simulation are."""
    if value is None:
        return None
    if value.suffix not in {".html", ".svg"}:
        raise click.BadParameter(f"{value}: end the name with .html or .svg")
    if not os.access(value.parent, os.W_OK | os.X_OK):
        missing = "may not be written to" if value.parent.is_dir() else "is no folder"
        raise click.BadParameter(f"{value} cannot be written: {value.parent} {missing}")
    return value


def refuse_unused(context: click.Context, chosen: str, unused: tuple[str, ...]) -> None:
    """An option that would be ignored is a usage error."""
    for name in unused:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(p for p in context.command.params if p.name == name).opts[0]
            raise click.UsageError(f"{option} does nothing together with {chosen}: leave one out")


positive = _Seconds(min=0, min_open=True)


@click.command(epilog=EPILOG)
@click.argument("app_path", metavar="MODULE:APP")
@click.option(
    "--workflow", default="", metavar="TYPE", help="Whose runs to start; needed if it has several."
)
@click.option(
    "--input",
    default="[]",
    metavar="JSON",
    callback=check_json,
    help="Of these runs: an array of arguments, or the one argument; - reads stdin.",
)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True, help="How many.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="The lowest of them.")
@click.option("--seed", type=int, help="Repeat the run of this seed, and show what happens in it.")
@click.option(
    "--faults",
    "kinds",
    default="all",
    show_default=True,
    metavar="KIND[,KIND]",
    callback=check_kinds,
    help="What may go wrong: all, none, or some kinds.",
)
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option(
    "--depth",
    type=click.Choice([depth.value for depth in Depth]),
    default=Depth.CORE.value,
    show_default=True,
    help="All that decides, at great speed; or whole nodes.",
)
@click.option(
    "--seconds",
    type=positive,
    default=10.0,
    show_default=True,
    help="Of virtual time in which faults happen.",
)
@click.option(
    "--healing-seconds",
    type=positive,
    default=60.0,
    show_default=True,
    help="Of virtual time after that, in which all must come to its end.",
)
@click.option("--cancels", is_flag=True, help="Now and then cancel or terminate a run.")
@click.option(
    "--invariant",
    "invariants",
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="A check of your own, called with the world after each run; may be repeated.",
)
@click.option(
    "--exhaustive",
    type=click.Choice(list(STRIKES)),
    help="Instead of seeds: strike one run at every position of its history.",
)
@click.option("--keep-going", is_flag=True, help="Do not stop at the first failure.")
@click.option(
    "--shrink",
    "budget",
    type=click.IntRange(0),
    default=BUDGET,
    show_default=True,
    help="Runs to find the smallest schedule that fails; 0: as it is.",
)
@click.option(
    "--timeline",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    callback=check_timeline,
    help="HTML or SVG file of the failure, or of --seed; else flowactor-seed-N.html.",
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@json_option
def simulate(
    seeds: int,
    first_seed: int,
    seed: int | None,
    exhaustive: str | None,
    keep_going: bool,
    budget: int,
    timeline: Path | None,
    jobs: int,
    depth: str,
    as_json: bool,
    **plan: Any,
) -> None:
    """Simulate runs of a workflow while nodes, links, clocks and disks fail: a run for each seed.

    Checks what flowactor promises and what --invariant demands. The first failure is shrunk to the
    shortest schedule that still fails, and told as Python. Code 1 if anything failed.
    """
    context = click.get_current_context()
    if exhaustive is not None:
        refuse_unused(context, "--exhaustive", ("seeds", "first_seed", "kinds", "cancels"))
    elif seed is not None:
        refuse_unused(context, "--seed", ("seeds", "first_seed"))
    fix_hash_seed(os.environ, os.execve)
    session = _Session(
        Plan(depth=Depth(depth), **plan), Output(as_json), timeline, jobs, keep_going, budget
    )

    def body() -> Exit:
        session.plan.check()
        try:
            if exhaustive is not None:
                return session.strike(exhaustive, seed or 0)
            if seed is not None:
                return session.repeat(seed)
            return session.play(range(first_seed, first_seed + seeds))
        except KeyboardInterrupt:
            # Tasks that a run left behind complain as they are collected: of no interest any more.
            sys.unraisablehook = lambda _: None
            raise

    call_to_exit(body, session.output)


class _Session:
    """One call of the command."""

    def __init__(
        self,
        plan: Plan,
        output: Output,
        timeline: Path | None,
        jobs: int,
        keep_going: bool,
        budget: int,
    ) -> None:
        self.plan: Final = plan
        self.output: Final = output
        self._timeline: Final = timeline
        self._jobs: Final = jobs
        self._keep_going: Final = keep_going
        self._budget: Final = budget

    # -- many seeds -------------------------------------------------------------------------------

    def play(self, seeds: range) -> Exit:
        """A campaign over these seeds."""
        with (
            self._progress() as progress,
            self.plan.outcomes(seeds, self._jobs) as outcomes,
        ):
            runs = progress.add_task("seeds", total=len(seeds))
            shrinking = progress.add_task("shrinking", total=self._budget, visible=False)
            campaign = run_campaign(
                outcomes,
                self.plan.draw,
                self.plan.run,
                script=self.plan.script,
                now=_now,
                keep_going=self._keep_going,
                budget=self._budget,
                progress=lambda _: progress.advance(runs),
                shrinking=lambda told: progress.update(
                    shrinking, completed=told.executions, visible=True
                ),
            )
        if not campaign.points and not campaign.failures:
            raise ConfigurationError(
                "no seed saw a run of the workflow come to anything: nothing was tested"
            )
        page = self._page_of_failure(campaign)
        if self.output.as_json:
            self.output.document(campaign.as_dict() | {"timeline": page and str(page)})
        else:
            self._tell(campaign, page)
        return _exit(not campaign.failures)

    def _page_of_failure(self, campaign: Campaign) -> Path | None:
        """The timeline of the first failure, as small as it got."""
        if not campaign.failures:
            return None
        found = campaign.failures[0]
        if found.failure.checker == ENDLESS and self._timeline is None:
            return None  # another run of it would take as long again, and show nothing
        scenario = found.shrunk.scenario if found.shrunk else self.plan.draw(found.seed)
        return self._draw_page(scenario, self.plan.watch(scenario), f"seed {found.seed}")

    def _tell(self, campaign: Campaign, page: Path | None) -> None:
        text = self.output.text
        for found in campaign.failures[:1]:
            self._tell_failure(found)
            if page is not None:
                text(f"timeline: {page}")
            text(f"repeat:   {self.plan.command('--seed', str(found.seed))}")
            text("")
        for found in campaign.failures[1:]:
            text(f"seed {found.seed} failed: {found.failure.checker}: {found.failure.message}")
        missed = len(campaign.marks.missing())
        text(
            f"{campaign.seeds - len(campaign.failures)} of {campaign.seeds} seeds passed: "
            f"{campaign.virtual_seconds:,.0f} virtual seconds in {campaign.real_seconds:.1f} s, "
            f"{campaign.per_second(campaign.seeds):,.1f} seeds/s, "
            f"{campaign.per_second(campaign.events):,.0f} events/s; "
            f"{len(EXPECTED) - missed} of {len(EXPECTED)} rare states reached"
        )
        self._tell_runs(campaign.runs, campaign.waiting, campaign.failed)

    def _tell_runs(self, runs: int, waiting: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """Nobody shall take for tested what waits for ever, or fails at its first line."""
        if failed:
            self.output.text(
                f"{sum(failed.values())} of {runs} workflow runs failed, with {_most(failed)}"
            )
        if waiting:
            self.output.text(
                f"{sum(waiting.values())} of {runs} workflow runs never ended; "
                f"they wait at {_most(waiting)}"
            )

    def _tell_failure(self, found: Found) -> None:
        text, shrunk = self.output.text, found.shrunk
        text(f"seed {found.seed} failed: {found.failure.checker}: {found.failure.message}")
        if shrunk is not None:
            small = "the smallest schedule" if shrunk.minimal else "the smallest schedule so far"
            scenario = shrunk.scenario
            text(
                f"{small} that fails so, after {shrunk.executions} runs: "
                f"{_count(scenario.faults, 'fault')}, {_count(scenario.acts, 'act')}, "
                f"{scenario.nodes} node{'s' * (scenario.nodes > 1)}"
            )
        text("")
        text(found.schedule)

    # -- one seed ---------------------------------------------------------------------------------

    def repeat(self, seed: int) -> Exit:
        """The run of one seed, to be looked at."""
        scenario = self.plan.draw(seed)
        kept: list[Outcome] = []
        campaign = run_campaign(
            map(self.plan.watch, (scenario,)),
            lambda _: scenario,
            self.plan.run,
            script=self.plan.script,
            now=_now,
            budget=0,
            progress=kept.append,
        )
        (outcome,) = kept
        page = self._draw_page(scenario, outcome, f"seed {seed}") if self._timeline else None
        if self.output.as_json:
            self.output.document(campaign.as_dict() | {"timeline": page and str(page)})
            return _exit(outcome.failure is None)
        self.output.text(render_text(_picture(scenario, outcome, f"seed {seed}")))
        if page is not None:
            self.output.text(f"timeline: {page}")
        self.output.text(f"digest:   {outcome.digest}")
        self._verdict(f"seed {seed}", outcome)
        self._tell_runs(outcome.runs, outcome.waiting, outcome.failed)
        return _exit(outcome.failure is None)

    def _verdict(self, what: str, outcome: Outcome) -> None:
        failure = outcome.failure
        verdict = "passed" if failure is None else f"failed: {failure.checker}: {failure.message}"
        self.output.text(
            f"{what} {verdict} ({outcome.virtual_seconds:g} virtual seconds, "
            f"{outcome.events:,} events)"
        )

    # -- every position ---------------------------------------------------------------------------

    def strike(self, kind: str, seed: int) -> Exit:
        """One run, struck at each of its points."""
        scenario = self.plan.quiet(seed)
        baseline = self.plan.run(scenario)
        points = 0 if baseline.failure else baseline.points
        strikes = every_strike(kind, points, scenario.nodes, STRUCK_SECONDS)
        with (
            self._progress() as progress,
            self.plan.struck(seed, strikes, self._jobs) as outcomes,
        ):
            runs = progress.add_task("positions", total=len(strikes))
            result = strike_everywhere(
                scenario,
                kind,
                baseline,
                lambda _: outcomes,
                seconds=STRUCK_SECONDS,
                script=lambda failure, strike: self.plan.script(scenario, failure, strike),
                keep_going=True,
                progress=lambda _: progress.advance(runs),
            )
        page = self._page_of_blow(scenario, result)
        if self.output.as_json:
            self.output.document(result.as_dict() | {"timeline": page and str(page)})
        else:
            self._tell_blows(result, page)
        return _exit(result.passed)

    def _page_of_blow(self, scenario: Scenario, result: Exhaustive) -> Path | None:
        if result.passed:
            return None
        strike = result.failed[0].strike if result.failed else None
        title = f"{result.kind} at point {strike.point}" if strike else "nothing strikes"
        return self._draw_page(scenario, self.plan.watch(scenario, strike), title)

    def _tell_blows(self, result: Exhaustive, page: Path | None) -> None:
        text, failed = self.output.text, result.failed
        if result.baseline.failure is not None:
            self._verdict("the run that nothing strikes", result.baseline)
        if failed:
            rows = [
                (
                    blow.strike.point,
                    blow.strike.node or "owner",
                    blow.failure.checker if blow.failure else "",
                    blow.failure.message if blow.failure else "",
                )
                for blow in failed
            ]
            self.output.table("failed", ("point", "node", "checker", "message"), rows)
            text("")
            text(failed[0].schedule)
        if page is not None:
            text(f"timeline: {page}")
        text(
            f"{result.kind}: {result.baseline.points} positions, {len(result.blows)} runs, "
            f"{len(result.blows) - len(failed)} passed, {len(failed)} failed"
        )
        self._tell_runs(result.runs, result.waiting, result.failed_with)

    # -- shared -----------------------------------------------------------------------------------

    def _draw_page(self, scenario: Scenario, outcome: Outcome, title: str) -> Path:
        """Write the timeline of a run to a file, as a picture if its name says so.

        Raises:
            ConfigurationError: it cannot be written there.
        """
        path = self._timeline or Path(f"flowactor-seed-{scenario.seed}.html")
        render = render_svg if path.suffix == ".svg" else render_html
        try:
            path.write_text(render(_picture(scenario, outcome, title)), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
        return path

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        """A bar on stderr, for people only."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
        quiet = self.output.as_json or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
            yield progress


class _Rate(ProgressColumn):
    """How many a second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


def _picture(scenario: Scenario, outcome: Outcome, title: str) -> Timeline:
    return Timeline.of(
        outcome.lines,
        nodes=scenario.nodes,
        title=title,
        seed=scenario.seed,
        faults=scenario.faults,
        failure=outcome.failure,
    )


def _count(items: tuple[object, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"


def _now() -> float:
    return SystemClock().monotonic_ns() / NANOSECONDS


def _exit(passed: bool) -> Exit:
    return Exit.OK if passed else Exit.RUN_ENDED_BADLY


def _most(counted: Mapping[str, int]) -> str:
    """What there was most of, how often, and how much else there was."""
    told = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    named = "; ".join(f"{what} ({number})" for what, number in told[:TOLD_MAX])
    more = f"; {len(told) - TOLD_MAX} more" if len(told) > TOLD_MAX else ""
    return named + more
