"""The judge of slots: hand-offs in order pass, and a slot in two groups, or in none, is named."""

import pytest
from attrs import Factory, define

from flowactor.identity import GroupId
from flowactor.limits import SLOTS
from flowactor.machine.slots import Placement, SlotState
from flowactor.simulation.checks.slots import SlotsChecker
from flowactor.simulation.failure import CheckFailed

ONE, TWO = GroupId(1), GroupId(2)
ALL = range(SLOTS)


@define
class Machine:
    """What the judge sees of a machine: it is what a test says it is."""

    states: dict[int, SlotState] = Factory(dict)
    moves: dict[int, str] = Factory(dict)

    def placement(self, slot):
        return Placement(self.states.get(slot, SlotState.AWAY))

    def put(self, state, *slots, **moves):
        """These slots stand so, and these moves are under way."""
        self.states.update(dict.fromkeys(slots, state))
        self.moves = moves


class Story:
    """Two groups before the judge; the first one has all slots."""

    def __init__(self):
        self.checker = SlotsChecker()
        self.machines = {ONE: Machine(), TWO: Machine()}
        self.index = 0
        self.put(ONE, SlotState.SERVED, *ALL)
        self.put(TWO, SlotState.AWAY)

    def put(self, group, state, *slots, **moves):
        """A group applies an entry after which it has these slots so."""
        self.index += 1
        self.machines[group].put(state, *slots, **moves)
        self.checker.applied(group, self.index, self.machines[group])


@pytest.fixture
def story():
    """Slots 3 and 4 are frozen by the one group, and expected by the other."""
    story = Story()
    story.put(ONE, SlotState.LEAVING, 3, 4, first="leaving")
    story.put(TWO, SlotState.ARRIVING, 3, 4, first="arriving")
    return story


def test_a_hand_off_in_order_passes(story):
    """The target serves what the source has frozen, and each serves what the table says."""
    story.put(TWO, SlotState.SERVED, 3, 4)
    story.put(ONE, SlotState.AWAY, 3, 4)
    assert story.checker.misplaced(TWO, [3, 4]) == ""
    assert story.checker.misplaced(ONE, set(ALL) - {3, 4}) == ""


def test_two_groups_with_one_slot_are_refused(story):
    """The source takes back what the target serves already."""
    story.put(TWO, SlotState.SERVED, 3, 4)
    with pytest.raises(CheckFailed, match="slots: slot 3 is served by groups 1 and 2"):
        story.put(ONE, SlotState.SERVED, 3, 4)


def test_who_lags_is_no_second_group(story):
    """A node that applies the past once more says nothing about who serves now."""
    story.put(TWO, SlotState.SERVED, 3, 4)
    past = Machine(dict.fromkeys(ALL, SlotState.SERVED))
    story.checker.applied(ONE, 1, past)
    assert story.checker.misplaced(TWO, [3, 4]) == ""


def test_misplaced_slots_are_named(story):
    """Nobody serves what is on its way, and a group may serve more than the table gives it."""
    assert "group 2 does not serve slot 3" in story.checker.misplaced(TWO, [3, 4])
    assert "group 1 serves slot 5" in story.checker.misplaced(ONE, set(ALL) - {3, 4, 5})
