"""The judge of leadership: who may lead on, who may disturb whom, and whose silence counts.

A second count, and a simple one, of the ticks and messages that each core was stepped with. It
knows the rules *check_quorum_steps_down*, *stalled_disk_loses_leadership*,
*disruptive_server_ignored*, *prevote_carries_term* and *leader_waits_a_lease_before_reassigning*;
what breaks them is seldom wrong at once, but keeps a cluster from its work (I38, I40).
"""

from collections.abc import Sequence
from typing import Final

from attrs import Factory, define

from flowactor.limits import (
    BEAT_SECONDS,
    ELECTION_TICKS_MAX,
    ELECTION_TICKS_MIN,
    NANOSECONDS,
    OWNER_LEASE_SECONDS,
    TICK_SECONDS,
)
from flowactor.ports import Clock
from flowactor.raft import (
    Append,
    AppendReply,
    Effects,
    Event,
    Message,
    Raft,
    Receive,
    Restored,
    Role,
    Tick,
    TimeoutNow,
    Vote,
    VoteReply,
    Wake,
    Write,
    WritePersisted,
)
from flowactor.simulation.checks.members import Members, is_quorum
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks

__all__ = ["LeadershipChecker"]

_TICK_NS: Final = round(TICK_SECONDS * NANOSECONDS)
_SLACK_NS: Final = round((BEAT_SECONDS + TICK_SECONDS) * NANOSECONDS)
"""So much later than its node a group may have heard a peer: messages wait in its mailbox."""
LEASE_TICKS: Final = OWNER_LEASE_SECONDS / TICK_SECONDS


@define(eq=False)
class _Sight:
    """One life of one node.

    Attributes:
        members: the configurations in its log.
        silence: peer -> ticks since anything came from it.
        leader_silence: ticks since an append that its term allowed.
        led_ticks: since it leads.
        writing: (number, tick) of writes that are not durable, oldest first.
        promised: term -> who would vote for this node in it.
        untold: leader of an older term -> the tick at which it showed that nobody had told it.
        strangers: who asked this leader for a vote and is no member -> the tick at which it did.
        spoken: peer -> the tick at which this leader last sent it anything but an answer.
        told: terms that messages of this step speak of.
        owed: the highest term that messages of this step oblige it to enter.
        free: who asked in this step for a promise, while no leader was known to be alive.
        quiet: it lets time pass.
        clock: of its machine.
        begun_ns: when this life began, on that clock.
        has_begun: it has handled what had come before its process let it begin: nobody can tell how
            long that waited.
        heard_ns: peer -> when anything of the group came from it.
    """

    members: Members
    term: int
    clock: Clock
    silence: dict[int, int] = Factory(dict)
    role: Role = Role.FOLLOWER
    leader: int = 0
    ticks: int = 0
    leader_silence: int = 0
    led_ticks: int = 0
    writing: list[tuple[int, int]] = Factory(list)
    promised: dict[int, set[int]] = Factory(dict)
    untold: dict[int, int] = Factory(dict)
    strangers: dict[int, int] = Factory(dict)
    spoken: dict[int, int] = Factory(dict)
    told: set[int] = Factory(set)
    owed: int = 0
    free: set[int] = Factory(set)
    quiet: bool = False
    begun_ns: int = 0
    has_begun: bool = False
    heard_ns: dict[int, int] = Factory(dict)

    def written(self, node: int, write: Write) -> None:
        """The log becomes what this write makes of it, and the members may be others."""
        known = self.members.current
        self.members.written(write)
        if self.members.current is not known:
            self.look(node)

    def look(self, node: int) -> None:
        """The members may be others now: the silence of new ones begins."""
        peers = [member for member in self.members.current.members if member != node]
        self.silence = {peer: self.silence.get(peer, 0) for peer in peers}

    @property
    def in_lease(self) -> bool:
        """It leads, or has heard its leader within the shortest election time-out."""
        if any(term > self.term for term in self.told):
            return False
        alive = bool(self.leader) and self.leader_silence < ELECTION_TICKS_MIN
        return self.role is Role.LEADER or alive


class LeadershipChecker:
    """Invariants of elections and of silence in one group.

    Args:
        marks: counts what was reached.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks: Final = marks
        self._sights: Final[dict[int, _Sight]] = {}
        self._silent: Final[set[tuple[int, int]]] = set()

    def recovered(self, node: int, restored: Restored, clock: Clock) -> None:
        """A node begins a life with what its disk held, on a machine with this clock."""
        members = Members(restored.configuration, restored.entries)
        term, now_ns = restored.hard_state.term, clock.monotonic_ns()
        self._sights[node] = _Sight(members, term, clock, begun_ns=now_ns)
        self._sights[node].look(node)

    def stepped(self, node: int, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """Check one step of a core, before anything comes of it."""
        sight = self._sights[node]
        ticked, slept = False, sight.quiet
        for event in events:
            match event:
                case Receive(sender=sender, message=message):
                    if sight.has_begun:
                        sight.heard_ns[sender] = sight.clock.monotonic_ns()
                    self._heard(sight, sender, message)
                case Tick() if not slept:
                    ticked = True
                    self._tick(sight)
                case WritePersisted(number=number):
                    while sight.writing and sight.writing[0][0] <= number:
                        del sight.writing[0]
                case _:
                    pass
        if sight.owed > sight.term and not effects.status_changed:
            raise CheckFailed("I40", f"node {node} was told of term {sight.owed}, and ignores it")
        led_on = led = sight.role is Role.LEADER
        terms: tuple[int, ...] = (sight.term,)
        if effects.status_changed:
            led_on = self._changed(node, sight, core) and led_on
            terms = (*terms, *sight.told, sight.term)
        for event in events:
            if isinstance(event, Wake):
                self._woken(node, sight, event, slept=slept)
        if effects.write is not None:
            sight.written(node, effects.write)
        if sight.role is Role.LEADER and (ticked or not led_on):
            self._note_silence(sight)
            if led_on:
                self._may_lead_on(node, sight)
                self._strangers_told(node, sight)
        could_speak = not sight.writing
        if effects.write is not None:
            sight.writing.append((effects.write.number, sight.ticks))
        for peer, message in effects.messages:
            sight.untold.pop(peer, None)
            if not isinstance(message, VoteReply):
                sight.spoken[peer] = sight.ticks
                sight.strangers.pop(peer, None)
            elif message.pre and not message.granted:
                self._refused(node, peer, message.term, terms)
            elif message.pre and (not led or sight.role is Role.LEADER):
                self._promised(node, sight, peer)  # who steps down may do so first
        if ticked and sight.untold and could_speak:
            self._told_off(node, sight)
        if sight.told or sight.free:
            sight.told.clear()
            sight.free.clear()
        sight.owed = 0
        sight.has_begun = sight.has_begun or bool(events)

    def is_leading(self, node: int) -> bool:
        """Whether this node leads, as its last step left it."""
        return self._sights[node].role is Role.LEADER

    def check_given_away(self, term: int, owner: int) -> None:
        """In this term the runs of ``owner`` were given to others.

        Raises:
            CheckFailed: the leader had not waited for a lease.
        """
        if (term, owner) not in self._silent:
            raise CheckFailed(
                "I21", f"node {owner} lost its runs in term {term}, and was not silent for a lease"
            )

    # -- what comes in ----------------------------------------------------------------------------

    def _tick(self, sight: _Sight) -> None:
        sight.ticks += 1
        sight.leader_silence += 1
        sight.led_ticks += 1
        for peer in sight.silence:
            sight.silence[peer] += 1

    def _heard(self, sight: _Sight, sender: int, message: Message) -> None:
        if sender in sight.silence:
            sight.silence[sender] = 0
        term = message.term
        if isinstance(message, Vote) and sender not in sight.members.current.members:
            self._marks["stranger asked for votes"] += 1
        match message:
            case AppendReply():
                self._told(sight, term)
            case Append():
                if term >= sight.term:
                    sight.leader_silence = 0
                else:
                    sight.untold.setdefault(sender, sight.ticks)
                self._told(sight, term)
            case Vote(pre=True):  # it asks what would be, and obliges to nothing
                if not sight.in_lease:
                    sight.free.add(sender)
                if sight.role is Role.LEADER and term <= sight.term + 1:
                    self._asked(sight, sender)
            case Vote(transfer=transfer):
                if term > sight.term and (transfer or not sight.in_lease):
                    sight.told.add(term)
            case TimeoutNow():
                if term == sight.term:
                    sight.told.add(term + 1)
            case VoteReply(pre=True, granted=True):
                sight.promised.setdefault(term, set()).add(sender)
            case _:
                self._told(sight, term)

    @staticmethod
    def _asked(sight: _Sight, sender: int) -> None:
        """A candidate asks the leader. One that was taken out and just sent something asked before
        it heard that: whoever hears a leader waits for an election time-out before it asks again.
        """
        spoken = sight.spoken.get(sender)
        heard = spoken is not None and sight.ticks - spoken < ELECTION_TICKS_MIN
        if sender not in sight.members.current.members and not heard:
            sight.strangers.setdefault(sender, sight.ticks)

    @staticmethod
    def _told(sight: _Sight, term: int) -> None:
        """A message obliges to enter its term."""
        if term > sight.term:
            sight.told.add(term)
            sight.owed = max(sight.owed, term)

    def _woken(self, node: int, sight: _Sight, wake: Wake, *, slept: bool) -> None:
        """The node as a whole says for how long it has not heard a peer: no longer than its group
        has not, by the node's own clock, be that right or wrong.
        """
        peer, ticks = wake.node, wake.silent_ticks
        passed_ns = sight.clock.monotonic_ns() - sight.heard_ns.get(peer, sight.begun_ns)
        if ticks * _TICK_NS > passed_ns + _SLACK_NS:
            raise CheckFailed(
                "I21",
                f"node {node} is told that node {peer} is silent for {ticks} ticks, and heard it"
                f" {passed_ns / NANOSECONDS:.3f} s ago",
            )
        if peer in sight.silence:
            sight.silence[peer] = max(sight.silence[peer], ticks)
        if slept and ticks and not sight.quiet:
            self._marks["quiet group woken by a silence"] += 1

    # -- what comes of it -------------------------------------------------------------------------

    def _changed(self, node: int, sight: _Sight, core: Raft) -> bool:
        """Look at the new status; returns whether it is of the same term as before."""
        status = core.status()
        if status.term < sight.owed:
            raise CheckFailed("I40", f"node {node} was told of term {sight.owed}, and ignores it")
        same_term = status.term == sight.term
        if not same_term and status.term not in sight.told:
            promised = {node, *sight.promised.get(status.term, ())}
            if not is_quorum(promised, sight.members.current):
                would = ", ".join(map(str, sorted(promised)))
                raise CheckFailed(
                    "I40",
                    f"node {node} enters term {status.term}: nobody that it had to listen to told"
                    f" it to, and only {would} would vote for it",
                )
        if not same_term:
            sight.promised.clear()
            sight.untold.clear()
        if status.role is Role.LEADER and not (same_term and sight.role is Role.LEADER):
            sight.led_ticks = 0
        if status.role is not Role.LEADER:
            sight.strangers.clear()
            sight.spoken.clear()
        if sight.quiet and not status.quiet:  # what passed meanwhile was not counted
            sight.leader_silence = 0
            for peer, ticks in sight.silence.items():
                sight.silence[peer] = ticks if ticks >= ELECTION_TICKS_MAX else 0
        sight.quiet = status.quiet
        sight.term, sight.role, sight.leader = status.term, status.role, status.leader
        return same_term

    def _note_silence(self, sight: _Sight) -> None:
        """A leader counted one more tick, or is a new one: it may give runs away now."""
        for peer, ticks in sight.silence.items():
            if ticks >= LEASE_TICKS:
                self._silent.add((sight.term, peer))

    def _may_lead_on(self, node: int, sight: _Sight) -> None:
        """A leader counted one more tick, and leads on."""
        heard = {
            peer
            for peer, ticks in sight.silence.items()
            if min(ticks, sight.led_ticks) < ELECTION_TICKS_MAX
        }
        if not is_quorum({node, *heard}, sight.members.current):
            found = ", ".join(map(str, sorted(heard))) or "nobody"
            raise CheckFailed("I38", f"node {node} leads, and hears only {found}")
        if sight.writing and sight.ticks - sight.writing[0][1] > ELECTION_TICKS_MIN:
            waited = sight.ticks - sight.writing[0][1]
            raise CheckFailed("I38", f"node {node} leads, and its disk hangs for {waited} ticks")

    @staticmethod
    def _told_off(node: int, sight: _Sight) -> None:
        """A leader of an older term hears that there is a later one."""
        for leader, tick in sight.untold.items():
            if sight.ticks - tick > ELECTION_TICKS_MAX:
                raise CheckFailed("I38", f"node {node} leaves leader {leader} of an older term be")

    @staticmethod
    def _strangers_told(node: int, sight: _Sight) -> None:
        """Who stands for election and was taken out hears so from the leader."""
        for stranger, tick in sight.strangers.items():
            if sight.ticks - tick > ELECTION_TICKS_MAX:
                raise CheckFailed(
                    "I38", f"leader {node} does not tell node {stranger} that it is out"
                )

    @staticmethod
    def _promised(node: int, sight: _Sight, peer: int) -> None:
        """A node says that it would vote for another, be that a member or one of the past."""
        if peer not in sight.free:
            raise CheckFailed(
                "I38",
                f"node {node} would vote for node {peer}, and has heard leader {sight.leader}"
                f" {sight.leader_silence} ticks ago",
            )

    @staticmethod
    def _refused(node: int, peer: int, term: int, terms: tuple[int, ...]) -> None:
        """A pre-vote is refused: the answer says in which term its sender was."""
        if term not in terms:
            raise CheckFailed(
                "I40", f"node {node} of term {terms[-1]} refuses node {peer} with term {term}"
            )
