"""Mutants of the log: what is acknowledged, committed, cut, read and sent."""

from typing import Final

from simulations.mutants.mutant import Edit, Mutant

__all__ = ["REPLICATION"]

CORE: Final = "raft/core.py"
DURABILITY: Final = "raft/durability.py"
FOLLOWER: Final = "raft/follower.py"
LEADER: Final = "raft/replication.py"
PROGRESS: Final = "raft/progress.py"

CONFLICT: Final = (
    "        if entry.index > log.previous_index and log.term_at(entry.index) != entry.term:\n"
    '            assert entry.index > state.commit, f"committed entry {entry.index} contradicted"\n'
)

REPLICATION: Final = (
    Mutant(
        "acknowledged-before-sync",
        "ack_only_durable",
        "A follower acknowledges what is in its memory.",
        (
            Edit(
                FOLLOWER,
                "index = min(role.matched, state.durable.index)",
                "index = role.matched",
            ),
        ),
    ),
    Mutant(
        "leader-counts-itself-early",
        "ack_only_durable",
        "A leader counts its own copy before it is written.",
        (
            Edit(
                LEADER,
                "match[node] = state.durable.index",
                "match[node] = state.log.last_index",
            ),
        ),
    ),
    Mutant(
        "single-voter-takes-a-short-cut",
        "ack_only_durable",
        "A leader without peers commits before its disk has the entry.",
        (
            Edit(
                LEADER,
                "match[node] = state.durable.index",
                "match[node] = (\n"
                "        state.durable.index if role.peers else state.log.last_index\n    )",
            ),
        ),
    ),
    Mutant(
        "applied-before-durable",
        "ack_only_durable",
        "A follower applies what is committed before its own disk has it.",
        (
            Edit(
                CORE,
                "last = min(state.commit, state.durable.index)",
                "last = state.commit",
            ),
        ),
    ),
    Mutant(
        "older-terms-counted",
        "commit_only_own_term",
        "Entries of earlier terms are committed by counting (figure 8).",
        (
            Edit(
                LEADER,
                "    if index > state.commit and index >= role.first_index:"
                "  # rule commit_only_own_term\n"
                "        assert state.log.term_at(index) == state.term,"
                ' "the own term\'s entries come last"\n',
                "    if index > state.commit:\n",
            ),
        ),
    ),
    Mutant(
        "commit-beyond-matched",
        "commit_at_most_matched",
        "A follower believes the leader's commit index for entries the message did not cover.",
        (
            Edit(
                FOLLOWER,
                "known = min(append.commit, matched)",
                "known = min(append.commit, state.log.last_index)",
            ),
        ),
    ),
    Mutant(
        "stale-append-truncates",
        "truncate_only_on_conflict",
        "An append that brings nothing new cuts what came after it.",
        (
            Edit(
                FOLLOWER,
                CONFLICT,
                "        if entry.index > max(log.previous_index, state.commit):\n",
            ),
        ),
    ),
    Mutant(
        "truncates-below-commit",
        "truncate_only_on_conflict",
        "An append that was overtaken cuts committed entries too.",
        (Edit(FOLLOWER, CONFLICT, "        if entry.index > log.previous_index:\n"),),
    ),
    Mutant(
        "conflict-not-cut",
        "truncate_only_on_conflict",
        "An entry that contradicts the leader's stays where it is.",
        (Edit(FOLLOWER, CONFLICT, "        if entry.index < log.first_index:\n"),),
    ),
    Mutant(
        "cut-not-written",
        "truncate_only_on_conflict",
        "The log is cut in memory, and the disk does not hear of it.",
        (
            Edit(
                FOLLOWER,
                "            state.cut_from(entry.index)\n",
                "            state.log.cut_from(entry.index)\n",
            ),
        ),
    ),
    Mutant(
        "previous-entry-not-checked",
        "followers_converge_figure7",
        "A follower appends after an entry of another term.",
        (
            Edit(
                FOLLOWER,
                "    fits = index < log.previous_index"
                " or log.term_at(index) == append.previous_term\n",
                "    fits = True\n",
            ),
        ),
    ),
    Mutant(
        "append-aba",
        "async_append_aba",
        "A write that finishes after the log was cut vouches for what stands there now.",
        (
            Edit(
                DURABILITY,
                "        for write in self.pending:\n"
                "            write.last_index = min(write.last_index, index)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "old-acknowledgements-count",
        "async_append_aba",
        "A leader counts acknowledgements of an earlier term of office.",
        (
            Edit(
                LEADER,
                "if reply.term < state.term or not isinstance(role, Leader):",
                "if not isinstance(role, Leader):",
            ),
        ),
    ),
    Mutant(
        "read-before-own-commit",
        "readindex_waits_for_own_term",
        "A new leader serves reads at a commit index that its predecessor had passed.",
        (
            Edit(
                LEADER,
                "if reads.asked and state.commit >= role.first_index:",
                "if reads.asked:",
            ),
        ),
    ),
    Mutant(
        "read-without-quorum",
        "readindex_waits_for_own_term",
        "A leader serves reads without asking whether it still leads.",
        (
            Edit(
                LEADER,
                "reads.confirm(reached(configuration, rounds))",
                "reads.confirm(role.round)",
            ),
        ),
    ),
    Mutant(
        "read-joins-old-round",
        "readindex_waits_for_own_term",
        "A read is confirmed by a round of heartbeats that began before it was asked.",
        (
            Edit(
                LEADER,
                "        role.round += 1\n        reads.begin(state.commit, role.round)",
                "        reads.begin(state.commit, role.round)",
            ),
        ),
    ),
    Mutant(
        "lost-append-not-missed",
        "slow_follower_recovers",
        "A leader ignores refusals of a follower that it took to be in step.",
        (
            Edit(
                PROGRESS,
                "stale = at <= self.match_index or (self.flow is Flow.PROBE"
                " and at != self.next_index - 1)",
                "stale = self.flow is Flow.REPLICATE or at != self.next_index - 1",
            ),
        ),
    ),
    Mutant(
        "probe-forgets-to-go-on",
        "slow_follower_recovers",
        "After a refused probe the leader waits for an answer to a question it never asks.",
        (
            Edit(
                PROGRESS,
                "        self.flow = Flow.PROBE\n        self.asked = False\n",
                "        self.flow = Flow.PROBE\n",
            ),
        ),
    ),
    Mutant(
        "restart-emits-again",
        "restart_emits_nothing_twice",
        "A restarted node hands out its log from the beginning, applied or not.",
        (Edit(CORE, "emitted=restored.applied,", "emitted=restored.previous_index,"),),
    ),
    Mutant(
        "no-uncommitted-limit",
        "inflight_bounded_in_bytes",
        "A leader without a quorum takes proposals without end.",
        (
            Edit(
                LEADER,
                "    if role.uncommitted_bytes and (\n",
                "    if role.uncommitted_bytes < 0 and (\n",
            ),
        ),
        mark="uncommitted limit",
    ),
    Mutant(
        "no-inflight-limit",
        "inflight_bounded_in_bytes",
        "A leader sends without end to a follower that does not answer.",
        (
            Edit(
                PROGRESS,
                "        if len(self.inflight) >= config.inflight_appends_max:\n"
                "            return 0\n"
                "        return min(config.append_bytes_max,"
                " config.inflight_bytes_max - self.inflight_bytes)",
                "        return config.append_bytes_max",
            ),
        ),
    ),
)
