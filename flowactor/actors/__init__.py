"""Actors on Trio: bounded mailboxes, answers with deadlines, supervision.

- ``Mailbox``: many writers, one reader who takes everything on each wake-up; with an overflow rule.
- ``Promise``: a result that will be there once; ``ask`` sends one along and waits for it.
- ``Actor``: a name, a mailbox, a receive loop in one task.
- ``Supervisor``: restarts children that crash, up to a limit, then escalates.

Everything runs on one event loop and inside nurseries one can see; nothing is detached.
"""

from flowactor.actors.actor import Actor, BatchActor, start_actor
from flowactor.actors.ask import ask
from flowactor.actors.mailbox import Mailbox, MailboxClosed, MailboxStatistics, Overflow
from flowactor.actors.promise import Promise, wait_until
from flowactor.actors.supervisor import (
    ChildEnded,
    ChildRestarting,
    ChildSpec,
    ChildStarted,
    GaveUp,
    Restart,
    Strategy,
    Supervisor,
    SupervisorEvent,
    SupervisorGaveUp,
    SupervisorStatistics,
)

__all__ = [
    "Actor",
    "BatchActor",
    "ChildEnded",
    "ChildRestarting",
    "ChildSpec",
    "ChildStarted",
    "GaveUp",
    "Mailbox",
    "MailboxClosed",
    "MailboxStatistics",
    "Overflow",
    "Promise",
    "Restart",
    "Strategy",
    "Supervisor",
    "SupervisorEvent",
    "SupervisorGaveUp",
    "SupervisorStatistics",
    "ask",
    "start_actor",
    "wait_until",
]
