"""The suite of mutants itself: bugs fit the code, checkers find them, the code itself is clean."""

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulations.mutants import CONTROL, CONTROLS, MUTANTS, RULES, Edit, Mutant, Rotted
from simulations.mutation import copy_mutated, judge, main

PACKAGE = Path(__file__).parents[2] / "flowactor"
KNOWN = {mutant.name: mutant for mutant in MUTANTS}
ROTTEN = Mutant("rotten", "-", "", (Edit("raft/quorum.py", "return voters // 3", "return 1"),))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_code(mutant):
    """Each mutant finds the lines that it changes, once, and makes Python of them."""
    texts = {edit.file: (PACKAGE / edit.file).read_text() for edit in mutant.edits}
    for edit in mutant.edits:
        assert texts[edit.file].count(edit.old) == 1
        texts[edit.file] = texts[edit.file].replace(edit.old, edit.new)
    for text in texts.values():
        ast.parse(text)


def test_names_are_names_of_one_mutant():
    """No two mutants share a name."""
    assert len(KNOWN) == len(MUTANTS)


def test_every_rule_has_a_mutant():
    """No rule is one that nobody has broken, to see who notices."""
    assert set(RULES) <= {mutant.rule for mutant in MUTANTS}


def test_rotten_mutant_is_refused(tmp_path):
    """A mutant whose code is gone says so, instead of being caught or not."""
    with pytest.raises(Rotted, match=r"raft/quorum\.py holds 0 times"):
        copy_mutated(ROTTEN, tmp_path)


def test_unknown_mutant_is_refused():
    """A name that no mutant has ends the command before anything is played."""
    outcome = CliRunner().invoke(main, ["vote-twice"])
    assert outcome.exit_code == 2
    assert "there is no mutant 'vote-twice'" in outcome.output


@pytest.mark.long
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_flowactor_as_it_is_passes(control):
    """The controls are clean: what catches mutants does not catch the code itself."""
    look_at(control, seeds=3)


def test_flowactor_as_it_is_passes_once():
    """The same of one seed, which is played twice, and of a cluster that stays as it is: changes
    are played by the stories, and by the swarms of ``.ci/run``.
    """
    look_at(CONTROL, seeds=1)


def look_at(control, *, seeds):
    verdict = judge(control, seeds=seeds)
    assert (verdict.caught, verdict.seeds, verdict.is_as_wanted) == (False, seeds, True)


@pytest.mark.parametrize(
    ("name", "checker"),
    [
        ("acknowledged-before-sync", "I10"),
        ("result-stays-pending", "I22"),
        ("two-changes-at-once", "I13"),
        pytest.param("bug-of-2015", "I7", marks=pytest.mark.long),
        pytest.param("heir-never-given-up", "test_transfer_times_out", marks=pytest.mark.long),
    ],
)
def test_bug_is_caught(name, checker):
    """A bug that is put back in is found by the checker of its rule, within twenty seeds, or by the
    test that is named for it.
    """
    verdict = judge(KNOWN[name], seeds=20, shrink_runs=0)
    assert verdict.checker == checker
    assert verdict.is_as_wanted


def test_caught_bug_is_made_small():
    """The scenario that catches a bug shrinks: of a whole bad day next to nothing is left."""
    verdict = judge(KNOWN["vote-before-sync"], seeds=3, shrink_runs=12)
    assert verdict.checker == "I2"
    assert (verdict.faults, verdict.acts) == (0, 0)
