"""The committed past of a run, as its interpreter replays it: read from history rows."""

from flowactor.cluster.group import GroupActor
from flowactor.codec import records
from flowactor.identity import RunId
from flowactor.machine.events import Event
from flowactor.machine.history import Arrived
from flowactor.machine.operations import Advance, InboxRef
from flowactor.workflow import Activated

__all__ = ["past_of"]


def past_of(group: GroupActor, run_id: RunId) -> list[Activated]:
    """All activations of a run, open or closed, that this node has applied; oldest first."""
    group.hand_over_rows()
    inbox: dict[int, Event] = {}
    past: list[Activated] = []
    for row in group.state.scan("history", (run_id,)):
        match records.decode(row[-1]):
            case Arrived(number=number, event=event):
                inbox[number] = event
            case Advance() as advance:
                events = tuple(
                    inbox.pop(item.number) if isinstance(item, InboxRef) else item
                    for item in advance.consumed
                )
                past.append(Activated(advance.now_ns, events, advance.commands))
            case _:
                continue  # what did not reach the code
    return past
