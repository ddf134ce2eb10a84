"""The roles of a node, each with what only it knows; the package's docstring has a picture."""

from attrs import Factory, define

from flowactor.identity import NodeId
from flowactor.raft.messages import AppendReply
from flowactor.raft.progress import Progress
from flowactor.raft.reads import ReadQueue

__all__ = ["Candidate", "Follower", "Leader", "PreCandidate", "RoleState", "Transfer"]


@define(eq=False)
class Follower:
    """Listens. Everything here is about the leader of the present term.

    Attributes:
        matched: the log agrees with the leader's up to here, in memory.
        acked: the highest index reported to the leader as durable.
        round: the newest round heard.
        answer_due: the leader waits for an answer that no write will cause.
        synced: a write was done since the last answer.
        refusal: the newest append that did not fit, not yet answered.
    """

    matched: int = 0
    acked: int = 0
    round: int = 0
    answer_due: bool = False
    synced: bool = False
    refusal: AppendReply | None = None


@define(eq=False)
class PreCandidate:
    """Asks whether an election could be won, at nobody's cost (thesis 9.6)."""

    votes: dict[NodeId, bool] = Factory(dict)


@define(eq=False)
class Candidate:
    """Asks for votes. Its own vote, too, counts only once it is durable."""

    votes: dict[NodeId, bool] = Factory(dict)


@define(eq=False)
class Transfer:
    """The lead is being handed over.

    Attributes:
        target: to whom.
        ticks: since it began.
        told: the target has everything, and was told to campaign.
    """

    target: NodeId
    ticks: int = 0
    told: bool = False


@define(eq=False)
class Leader:
    """Replicates.

    Attributes:
        peers: progress of every other member; of one that was removed, until it knows.
        first_index: of the blank entry that opened this term; only from here on may entries be
            committed by counting (paper 5.4.2).
        round: of heartbeats; each read waits for one that began after it.
        uncommitted_bytes: the size of everything above the commit index, of whatever term.
        ticks: since this leadership began.
        heartbeat_elapsed: ticks since the last round of heartbeats by the clock.
        pace: the last index at two moments, both within the last two election time-outs, the older
            one at least one ago: who has that has caught up (thesis 4.2.1).
        transfer: to whom the lead is being handed over.
        idle_ticks: since there was anything to do.
        quiet_round: the first of the heartbeats that call for quiet; 0 while there is no reason to.
    """

    peers: dict[NodeId, Progress]
    first_index: int
    uncommitted_bytes: int
    pace: tuple[int, int]
    round: int = 0
    reads: ReadQueue = Factory(ReadQueue)
    ticks: int = 0
    heartbeat_elapsed: int = 0
    transfer: Transfer | None = None
    idle_ticks: int = 0
    quiet_round: int = 0


RoleState = Follower | PreCandidate | Candidate | Leader
