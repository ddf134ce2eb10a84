"""Runs that failed once: they pass now, and one that fails can be kept."""

import runpy
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import Crash
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.strike import Strike
from simulations import kept, seeds
from simulations.__main__ import main
from simulations.chores import INVARIANTS, chore
from simulations.workflows import app

KEPT = kept.find_kept()
FOLDER = Path(seeds.__path__[0])


@pytest.mark.parametrize("name", KEPT)
def test_seed_passes(name):
    """What once was found is not there any more."""
    assert kept.replay(KEPT[name]).failure is None


@pytest.mark.parametrize("name", KEPT)
def test_seed_is_told(name):
    """Each file says which seed it was, what a checker said, and what mended it."""
    title, said, told = KEPT[name].text.split("\n\n")
    assert title.startswith("Seed ")
    assert ", at " in said
    assert said.lower().startswith(name.partition("-")[0])
    assert "Mended" in told


def test_every_file_is_read():
    """No file of the folder is passed over."""
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py")} - {"--init--"}
    assert files == set(KEPT)


class Refuse:
    """A check that nothing passes, and no script can import."""

    def __call__(self, world):
        raise CheckFailed("taste", f"nobody likes {len(world.ledgers)} ledgers")


FAILING = Scenario(
    app=app,
    seed=5,
    acts=chore("payment", 1.5),
    faults=(Crash(1, 2.0, 3.0),),
    seconds=3.0,
    invariants=(*INVARIANTS, Refuse()),
)


def test_a_run_can_be_kept(tmp_path):
    """What is written is the run itself, in the form of this project, and is never overwritten."""
    failure = simulate(FAILING).failure
    strike = Strike("owner-crash", 3)
    path = kept.keep(tmp_path, "bad-taste", FAILING, Depth.CORE, failure, strike)
    assert path.name == "taste_bad_taste.py"
    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "import Crash\nfrom flowactor.simulation.run" in text
    assert "Strike\nfrom simulations.chores import (\n" in text
    written = runpy.run_path(str(path))
    assert written["SCENARIO"] == evolve(FAILING, invariants=INVARIANTS)
    assert (written["DEPTH"], written["STRIKE"]) == (Depth.CORE, strike)
    with pytest.raises(FileExistsError):
        kept.keep(tmp_path, "bad-taste", FAILING, Depth.CORE, failure)


def test_a_seed_that_fails_again_is_told(monkeypatch):
    """The command ends with code 1 and says what is back."""
    again = kept.Kept("Seed 5: x.", evolve(FAILING, faults=()), Depth.CORE, None)
    monkeypatch.setattr(kept, "find_kept", lambda: {"bad-taste": again})
    result = CliRunner().invoke(main, ["--seeds-only"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "bad-taste, seed 5: taste at" in result.output
    assert "nobody likes" in result.output
