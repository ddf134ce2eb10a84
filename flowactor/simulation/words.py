"""Short words for the record of a run, the same at both depths and in every process."""

from typing import assert_never

from flowactor.raft import (
    Append,
    AppendReply,
    InstallSnapshot,
    Message,
    TimeoutNow,
    Vote,
    VoteReply,
)
from flowactor.simulation.scenario import (
    Act,
    AskQuery,
    Cancel,
    CompareAndSet,
    Read,
    Signal,
    Start,
    Terminate,
    Write,
)

__all__ = ["word_of_act", "word_of_message"]


def word_of_message(message: Message) -> str:
    """What a message of consensus is."""
    match message:
        case Append(entries=entries):
            return "append" if entries else "heartbeat"
        case AppendReply(success=success):
            return "ack" if success else "refusal"
        case Vote(pre=pre):
            return "pre-vote?" if pre else "vote?"
        case VoteReply(granted=granted):
            return "vote" if granted else "no vote"
        case InstallSnapshot():
            return "snapshot"
        case TimeoutNow():
            return "time-out now"
        case _:
            assert_never(message)


def word_of_act(act: Act) -> str:
    """What a client asks."""
    match act:
        case Start(workflow=workflow, id=workflow_id):
            return f"start {workflow} {workflow_id}"
        case Signal(id=workflow_id, name=name):
            return f"signal {workflow_id} {name}"
        case AskQuery(id=workflow_id, name=name):
            return f"query {workflow_id} {name}"
        case Cancel(id=workflow_id):
            return f"cancel {workflow_id}"
        case Terminate(id=workflow_id):
            return f"terminate {workflow_id}"
        case Write(name=name, value=value):
            return f"write {name} {value}"
        case CompareAndSet(name=name, value=value):
            return f"compare and set {name} {value}"
        case Read(name=name):
            return f"read {name}"
        case _:
            assert_never(act)
