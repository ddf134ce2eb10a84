"""The checkers are checked: every known bug is put back in, and a simulation has to notice.

    python -m simulations.mutation [NAME ...] [--seeds N] [--shrink RUNS] [--jobs N] [--list]
                                   [--json]

Each mutant of ``simulations/mutants`` is made in a copy of the package in a temporary folder, and
played there, seed by seed, until a checker finds it or the budget of seeds is spent. The controls,
``none`` and those like it, are flowactor as it is, and have to pass all seeds of the budget. The
exit code is 0 if all mutants were caught and the controls were clean.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from attrs import asdict, frozen
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulations.mutants import CHANGING, CONTROLS, DISKS, MUTANTS, Mutant

__all__ = ["SEEDS", "Verdict", "copy_mutated", "judge", "main"]

ROOT: Final = Path(__file__).parents[1]
SEEDS: Final = 250
"""The budget: a mutant that lives through so many was not caught."""
NODE_SEEDS: Final = {CHANGING: 40, DISKS: 160}
"""The same for those that are played with whole nodes: a seed of theirs takes longer, above all one
of a cluster that changes.
"""
SHRINK_RUNS: Final = 100
HASH_SEEDS: Final = ("1", "2")
TEST_ENDS: Final = (0, 1)
"""Exit codes of pytest: all passed, some failed. Any other says that nothing was tested."""
LINE_WIDTH: Final = 160
"""Of a table that goes into a file."""


@frozen
class Verdict:
    """What came of one mutant.

    Attributes:
        name, rule: of the mutant.
        seeds: how many were played; none if a test is what has to catch it.
        checker, message: that caught it; empty if none did.
        faults, acts, nodes: of the shrunk scenario; None if nothing was shrunk.
        shrink_runs: that shrinking took.
        minimal: nothing can be left out of it.
    """

    name: str
    rule: str
    seeds: int
    checker: str = ""
    message: str = ""
    faults: int | None = None
    acts: int | None = None
    nodes: int | None = None
    shrink_runs: int = 0
    minimal: bool = False

    @property
    def caught(self) -> bool:
        """Whether a checker found it."""
        return bool(self.checker)

    @property
    def is_as_wanted(self) -> bool:
        """Mutants are to be caught, flowactor as it is must not."""
        return self.caught is not self.is_control

    @property
    def is_control(self) -> bool:
        """Whether there is nothing to catch."""
        return any(self.name == control.name for control in CONTROLS)


# -- one mutant -----------------------------------------------------------------------------------


def copy_mutated(mutant: Mutant, folder: Path) -> None:
    """Put the packages into ``folder``, and the bug into them.

    Raises:
        Rotted: the code that it changes is not there any more.
    """
    for package in ("flowactor", "simulations"):
        shutil.copytree(ROOT / package, folder / package)
    for edit in mutant.edits:
        edit.apply(folder / "flowactor")


def judge(mutant: Mutant, *, seeds: int = SEEDS, shrink_runs: int = SHRINK_RUNS) -> Verdict:
    """Play a mutant until it is caught.

    Args:
        mutant: which.
        seeds: how many it may live through; with whole nodes no more than ``NODE_SEEDS``.
        shrink_runs: how many runs may be spent on making the failure small; 0: leave it as it is.

    Raises:
        Rotted: the code that it changes is not there any more.
        CalledProcessError: it cannot be played at all.
    """
    seeds = min(seeds, NODE_SEEDS.get(mutant.scenario, seeds))
    with TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_mutated(mutant, folder)
        if mutant.test:
            return _test(mutant, folder)
        if mutant.by_hash_seed:
            return _compare(mutant, folder, seeds)
        return _verdict(mutant, _play(mutant, folder, seeds, shrink_runs, HASH_SEEDS[0]))


def _verdict(mutant: Mutant, lines: Iterable[dict[str, Any]]) -> Verdict:
    played, checker, message = 0, "", ""
    small: dict[str, Any] = {}
    reached: set[str] = set()
    for line in lines:
        if "seed" in line:
            played += 1
            checker, message = line.get("checker", ""), line.get("message", "")
            reached.update(line.get("marks", ()))
        else:
            small = line
    if not checker and mutant.mark and mutant.mark not in reached:
        checker, message = "marks", f"no run reached {mutant.mark!r}"
    return Verdict(
        mutant.name,
        mutant.rule,
        played,
        checker,
        message,
        small.get("faults"),
        small.get("acts"),
        small.get("nodes"),
        small.get("runs", 0),
        small.get("minimal", False),
    )


def _compare(mutant: Mutant, folder: Path, seeds: int) -> Verdict:
    """I41: a seed is the same run in two processes that hash texts differently."""
    one, other = (_play(mutant, folder, seeds, 0, hash_seed) for hash_seed in HASH_SEEDS)
    lines: list[dict[str, Any]] = []
    for left, right in zip_longest(one, other):
        lines.append(left)
        if left != right:
            difference = "a seed was two different runs in two processes"
            lines[-1] = {**left, "checker": "I41", "message": difference}
            break
    return _verdict(mutant, lines)


def _test(mutant: Mutant, folder: Path) -> Verdict:
    """Whether the test that is to catch it fails, and does not merely end."""
    shutil.copytree(ROOT / "tests", folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib"]
    found = subprocess.run(  # noqa: S603  # this program, a test of its own
        [*command, mutant.test],
        cwd=folder,
        env=_environment(folder, HASH_SEEDS[0]),
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode not in TEST_ENDS:
        raise subprocess.CalledProcessError(found.returncode, command, found.stdout, found.stderr)
    checker = mutant.test.split("::")[-1] if found.returncode else ""
    return Verdict(mutant.name, mutant.rule, 0, checker, mutant.test if checker else "")


def _environment(folder: Path, hash_seed: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONHASHSEED": hash_seed,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _play(
    mutant: Mutant, folder: Path, seeds: int, shrink_runs: int, hash_seed: str
) -> Iterator[dict[str, Any]]:
    """What the worker tells, line by line; it is ended when nobody listens any more."""
    command = [sys.executable, "-m", "simulations.mutants.worker", "0", str(seeds)]
    with subprocess.Popen(  # noqa: S603  # this program, a worker of its own
        [*command, str(shrink_runs), mutant.scenario],
        cwd=folder,
        env=_environment(folder, hash_seed),
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        try:
            for line in worker.stdout:
                yield json.loads(line)
            if code := worker.wait():
                raise subprocess.CalledProcessError(code, command)
        finally:
            worker.kill()


# -- the suite ------------------------------------------------------------------------------------


def _judge_all(
    mutants: Sequence[Mutant], jobs: int, *, seeds: int, shrink_runs: int
) -> list[Verdict]:
    """Judge so many at the same time, and tell of each when it is done: all of them take hours."""
    told = Console(stderr=True)
    with ThreadPoolExecutor(jobs) as pool, Progress(console=told, transient=True) as progress:
        judged = [
            pool.submit(judge, mutant, seeds=seeds, shrink_runs=shrink_runs) for mutant in mutants
        ]
        try:
            for done in progress.track(as_completed(judged), len(judged), description="Hunting"):
                name, _, *rest = _row(done.result())
                progress.console.print(name, *rest)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [each.result() for each in judged]


def _row(verdict: Verdict) -> tuple[str, ...]:
    outcome = "caught" if verdict.caught else "not caught"
    if verdict.is_control:
        outcome = "failed" if verdict.caught else "clean"
    shrunk = ""
    if verdict.faults is not None:
        shrunk = f"{verdict.faults} faults, {verdict.acts} acts, {verdict.nodes} nodes"
        shrunk += "" if verdict.minimal else ", maybe fewer"
    colour = "green" if verdict.is_as_wanted else "red"
    return (
        verdict.name,
        verdict.rule,
        f"[{colour}]{outcome}[/]",
        verdict.checker,
        str(verdict.seeds),
        shrunk,
    )


def _chosen(names: Sequence[str]) -> list[Mutant]:
    known = {mutant.name: mutant for mutant in (*CONTROLS, *MUTANTS)}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no mutant {name!r}: --list shows all of them")
    return [known[name] for name in names] if names else list(known.values())


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _list(console: Console) -> None:
    table = _table("mutant", "rule", "what goes wrong")
    for mutant in MUTANTS:
        table.add_row(mutant.name, mutant.rule, mutant.story)
    console.print(table)


@click.command(help=__doc__.split("\n")[0])
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--seeds", default=SEEDS, show_default=True, help="Budget of each mutant.")
@click.option("--shrink", default=SHRINK_RUNS, show_default=True, help="Runs; 0: do not shrink.")
@click.option("--jobs", default=1, show_default=True, help="Mutants played at the same time.")
@click.option("--list", "listing", is_flag=True, help="Show all mutants, and play none.")
@click.option("--json", "as_json", is_flag=True, help="One object, for machines.")
def main(
    names: Sequence[str], seeds: int, shrink: int, jobs: int, listing: bool, as_json: bool
) -> None:
    """Play the mutants that were asked for."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_WIDTH)
    if listing:
        _list(console)
        return
    verdicts = _judge_all(_chosen(names), jobs, seeds=seeds, shrink_runs=shrink)
    wanted = all(verdict.is_as_wanted for verdict in verdicts)
    if as_json:
        found = {"seeds": seeds, "verdicts": [asdict(verdict) for verdict in verdicts]}
        click.echo(json.dumps({**found, "as_wanted": wanted}))
    else:
        results = _table("mutant", "rule", "outcome", "checker", "seeds", "shrunk to")
        for verdict in verdicts:
            results.add_row(*_row(verdict))
        console.print(results)
    sys.exit(0 if wanted else 1)


if __name__ == "__main__":
    main()
