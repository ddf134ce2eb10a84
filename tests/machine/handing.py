"""Two groups, and slots that move from one to the other."""

import attrs

from flowactor.identity import slot_of
from flowactor.limits import SLOTS
from flowactor.machine.commands import SetVariable
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ReleaseMove,
)
from flowactor.machine.operations import (
    Advance,
    ClientOperation,
    WriteVariable,
)

SECOND = 10**9
KEY = ((), "s", 0)
TIMER = ((), "t", 0)
ALL = tuple(range(SLOTS))


class Handoff:
    """Move ``number`` of ``slots`` from one group to another, step by step or whole."""

    def __init__(self, source, target, slots, number=1):
        self.source, self.target = source, target
        self.slots, self.number = tuple(slots), number

    def freeze(self, **when):
        return self.source.apply(FreezeSlots(self.number, self.slots, 1, 2), **when)

    def expect(self, **when):
        return self.target.apply(ExpectSlots(self.number, self.slots, 1, 2), **when)

    def pages(self):
        """Every page there is from here on, as the target asks for it."""
        after = self.target.machine.moves[self.number].progress
        while page := self.source.machine.page(self.number, after):
            yield page
            after = page.then

    def copy(self):
        for page in self.pages():
            self.target.apply(page)

    def activate(self, **when):
        return self.target.apply(ActivateSlots(self.number), **when)

    def forget(self):
        while self.number in self.source.machine.moves:
            self.source.apply(ForgetSlots(self.number))

    def release(self, group):
        return group.apply(ReleaseMove(self.number, self.slots))

    def run(self):
        self.freeze()
        self.expect()
        self.copy()
        applied = self.activate()
        self.forget()
        return applied


def names(inside, count, slot=7):
    """Workflow ids, or names of variables, that are in the slot, or are not."""
    found = (f"n{number}" for number in range(100_000))
    chosen = (name for name in found if (slot_of(name) == slot) is inside)
    return [next(chosen) for _ in range(count)]


def ask_again(group, sequence, body, session="s"):
    """What the group answers to this sequence of the session."""
    (answer,) = group.apply(ClientOperation(session, sequence, 1, body)).replies
    return answer[2]


def state_of(group, name="w"):
    """A run without what a move changes."""
    summary = group.machine.find(name, "")
    return attrs.evolve(summary, owner=0, epoch=0)


def write(group, count):
    """That many variables, in one log entry."""
    bodies = [WriteVariable(f"v{number}", b"") for number in range(count)]
    start = group.sequence + 1
    group.sequence += count
    group.apply(*[ClientOperation("s", start + n, 1, body) for n, body in enumerate(bodies)])


def live_long(group, count):
    """Run ``w`` goes on by that many activations, in one log entry."""
    run = group.run()
    group.apply(
        *[
            Advance("w", run.epoch, run.position + n, 0, (), (SetVariable("x", b"%d" % n),))
            for n in range(count)
        ]
    )
