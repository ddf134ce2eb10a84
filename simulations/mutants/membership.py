"""Mutants of clusters that change: who belongs to a group and votes in it, and copies of states."""

from typing import Final

from simulations.mutants.mutant import CHANGING, QUARRELING, RESHAPING, Edit, Mutant

__all__ = ["MEMBERSHIP"]

CHANGES: Final = "raft/changes.py"
ELECTION: Final = "raft/election.py"
FOUNDING: Final = "cluster/founding.py"
OF_FOUNDING: Final = "tests/cluster/test_founding.py"
RECONCILER: Final = "management/reconciler.py"
ROLES: Final = "management/roles.py"
OF_COMEBACKS: Final = "tests/raft/test_comebacks.py"
OF_PLANS: Final = "tests/management/test_rules.py"
OUT: Final = "a-removed-node-disturbs"

OWN_TERM: Final = "    if under_way or state.commit < role.first_index:\n"

MEMBERSHIP: Final = (
    Mutant(
        "change-before-own-term",
        "config_needs_own_term_commit",
        "A leader changes members before an entry of its own term is committed: the bug of 2015.",
        (Edit(CHANGES, OWN_TERM, "    if under_way:\n"),),
        scenario=RESHAPING,
    ),
    Mutant(
        "bug-of-2015",
        "config_needs_own_term_commit",
        "The same, and no check repeats the rule: what is left is the harm that it does.",
        (
            Edit(CHANGES, OWN_TERM, "    if under_way:\n"),
            Edit(
                "simulation/checks/consensus.py",
                "            self._changes_members(node, view, effects.write.entries)\n",
                "            pass\n",
            ),
        ),
        scenario=QUARRELING,
    ),
    Mutant(
        "two-changes-at-once",
        "config_needs_own_term_commit",
        "A leader begins the next change before the last one is committed.",
        (Edit(CHANGES, OWN_TERM, "    if state.commit < role.first_index:\n"),),
        scenario=RESHAPING,
    ),
    Mutant(
        "joint-left-before-commit",
        "joint_left_only_when_committed",
        "A leader leaves a joint configuration that is not committed.",
        (
            Edit(
                CHANGES,
                "    if membership.index > state.commit or state.commit < role.first_index:\n",
                "    if state.commit < role.first_index:\n",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "joint-never-left",
        "joint_left_only_when_committed",
        "A joint configuration stays for ever.",
        (
            Edit(
                CHANGES,
                "    if membership.current.is_joint:\n        _configure",
                "    if not membership.current.voters:\n        _configure",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "no-joint-configuration",
        "joint_left_only_when_committed",
        "All voters are changed in one step.",
        (
            Edit(
                "raft/membership.py",
                "if len(set(present.voters) ^ set(wanted.voters)) <= 1:",
                "if present.voters:",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "joint-with-one-majority",
        "joint_left_only_when_committed",
        "In a joint configuration a majority of the new voters is enough.",
        (
            Edit(
                "raft/configuration.py",
                "return (self.voters, self.outgoing) if self.outgoing else (self.voters,)",
                "return (self.voters,)",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "removed-leader-stays",
        "self_removed_leader",
        "A leader whose removal is committed leads on.",
        (
            Edit(
                "raft/handover.py",
                "    if not _is_removed(state):\n        return\n    successor",
                "    if not state.membership.current.members:\n        return\n    return\n"
                "    successor",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "stranger-not-told",
        "self_removed_leader",
        "A removed node that has not heard of it stands for election for ever.",
        (
            Edit(
                ELECTION,
                "        replication.tell_stranger(state, state.role, sender)\n",
                "        pass\n",
            ),
        ),
        scenario=OUT,
    ),
    Mutant(
        "learner-refuses-its-vote",
        "learner_votes_when_asked",
        "Who takes itself for a learner votes for nobody, even if its log lags behind.",
        (
            Edit(
                ELECTION,
                "    if granted:\n        state.vote = sender\n",
                "    granted = granted and state.membership.is_voter\n"
                "    if granted:\n        state.vote = sender\n",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "promotion-before-catch-up",
        "learner_votes_when_asked",
        "A learner becomes a voter before it has what the group has.",
        (
            Edit(
                CHANGES,
                "if not all(has_caught_up(state, role, voter) for voter in promoted):",
                "if not all(role.peers.get(voter) for voter in promoted):",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "learner-counts",
        "learner_votes_when_asked",
        "What a learner has counts towards a majority, and so does its vote.",
        (
            Edit(
                "raft/configuration.py",
                "return (self.voters, self.outgoing) if self.outgoing else (self.voters,)",
                "return ((*self.voters, *self.learners),)",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "learner-campaigns",
        "learner_votes_when_asked",
        "A learner that hears nobody stands for election.",
        (
            Edit(
                ELECTION,
                "return writes and state.membership.may_campaign",
                "return writes and bool(state.membership.current.members)",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "cut-configuration-stays",
        "no_campaign_with_unapplied_config",
        "A node goes by a configuration that was cut from its log.",
        (
            Edit(
                "raft/state.py",
                "        self.membership.cut_from(first)\n        self.durable",
                "        self.durable",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "silent-voters-stay",
        "self_removed_leader",
        "Who is taken out of the cluster stays a voter of its groups.",
        (Edit(ROLES, "return None if waiting else _shrink(", "return None and _shrink("),),
        scenario=CHANGING,
    ),
    Mutant(
        "id-given-twice",
        "two_joiners",
        "Two nodes that join get the same id.",
        (Edit("management/nodes.py", "return NodeId(known + 1)", "return NodeId(max(known, 4))"),),
        scenario=CHANGING,
    ),
    Mutant(
        "lost-disk-is-the-same-node",
        "voter_is_its_disk",
        "A machine that lost its disk is let in as the node that it was.",
        (
            Edit(
                "management/nodes.py",
                "    node = body.node or next_node_id(topology.last_node)\n",
                "    node = body.node or (before.id if before else"
                " next_node_id(topology.last_node))\n",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "closed-by-an-old-report",
        "self_removed_leader",
        "A node that lags throws a replica away by a report older than what its own log says.",
        (
            Edit(
                RECONCILER,
                "    return since is not None and report is not None"
                " and (report.term, report.index) >= since\n",
                "    return since is not None\n",
            ),
        ),
        test=f"{OF_PLANS}::test_a_replica_stays_that_knows_better_than_a_report",
    ),
    Mutant(
        "founder-again",
        "self_removed_leader",
        "A founder that left a group founds it again when it is wanted in it once more.",
        (
            Edit(
                RECONCILER,
                "    kept = node in group.founders and node not in group.dismissed\n",
                "    kept = node in group.founders\n",
            ),
        ),
        test=f"{OF_PLANS}::test_a_founder_comes_back_as_a_joiner",
    ),
    Mutant(
        "given-up-though-needed",
        "voter_is_its_disk",
        "A silent node is given up although a group has no majority without its disk.",
        (
            Edit(
                "management/nodes.py",
                "    if need := need_of(topology, node.id):\n",
                "    if (need := need_of(topology, node.id)) and not topology.nodes:\n",
            ),
        ),
        test="tests/management/test_majorities.py::test_two_of_three_are_not_given_up",
    ),
    Mutant(
        "late-founder-believes-one",
        "voter_is_its_disk",
        "A founder that has not met all takes part once a single other tells it of them.",
        (
            Edit(
                FOUNDING,
                "        if 2 * agreed > len(founders) - 1:\n",
                "        if agreed:\n",
            ),
        ),
        test=f"{OF_FOUNDING}::test_a_founder_that_comes_too_late_to_meet_all",
    ),
    Mutant(
        "refused-founder-was-met",
        "voter_is_its_disk",
        "A founder has met another as soon as that one says hello, whatever it thinks of this one.",
        (
            Edit(
                FOUNDING,
                "            self._told.add(theirs.founding)\n",
                "            self._told.add(theirs.founding)\n"
                "        self._greeted.add(NodeId(theirs.node))\n"
                "        self.look()\n",
            ),
        ),
        test=f"{OF_FOUNDING}::test_who_is_refused_has_met_nobody",
    ),
    Mutant(
        "dropped-log-votes-blindly",
        "voter_is_its_disk",
        "Who deleted its log votes for anybody whose log is not shorter than its new one.",
        (
            Edit(
                ELECTION,
                ">= max(state.log.end, state.deleted)\n",
                ">= state.log.end\n",
            ),
        ),
        test=f"{OF_COMEBACKS}::test_who_dropped_its_log_votes_as_if_it_had_it",
    ),
    Mutant(
        "dropped-log-campaigns",
        "voter_is_its_disk",
        "Who deleted its log campaigns when it has got back the beginning of it.",
        (Edit(ELECTION, " and state.has_what_it_had\n", "\n"),),
        test=f"{OF_COMEBACKS}::test_who_dropped_its_log_does_not_campaign_before_it_has_it_again",
    ),
    Mutant(
        "drop-forgets-what-it-had",
        "voter_is_its_disk",
        "A log that is dropped leaves a term and a vote behind, and not where it ended.",
        (
            Edit(
                "storage/log_store.py",
                "        last = max(last, tail.deleted)\n",
                "        last = (0, 0)\n",
            ),
        ),
        test="tests/storage/test_suites.py::TestLogStore::test_groups_come_and_go",
    ),
    Mutant(
        "dropped-log-is-the-past",
        "voter_is_its_disk",
        "A leader takes what a member says that has dropped its log for something of the past.",
        (
            Edit(
                "raft/progress.py",
                "        return 0 < at <= self.match_index and round_ > self.round_matched\n",
                "        return 0 < at <= self.match_index < round_ < self.round_matched\n",
            ),
        ),
        test=f"{OF_COMEBACKS}::test_who_comes_back_and_then_drops_its_log_is_sent_everything",
    ),
    Mutant(
        "late-founder-is-not-known",
        "voter_is_its_disk",
        "A founder is told of the others by those who know it with another directory.",
        (
            Edit(
                FOUNDING,
                " or disks.get(own) != membership.disk:\n",
                ":\n",
            ),
        ),
        test=f"{OF_FOUNDING}::test_a_lost_directory_is_not_let_in_by_being_told",
    ),
    Mutant(
        "owner-without-a-vote",
        "stale_epoch_refused",
        "Runs stay with a node that has left the group.",
        (
            Edit(
                "machine/ownership.py",
                "            if run.owner and run.owner not in self.voters:\n",
                "            if not self.voters:\n",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "snapshot-without-members",
        "snapshot_carries_config",
        "Who installs a snapshot goes on with the members that it knew before.",
        (
            Edit(
                "raft/state.py",
                "self.config.node, [(snapshot.configuration_index, snapshot.configuration)]",
                "self.config.node, self.membership.history[:1]",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "snapshot-without-sessions",
        "proposal_once",
        "Sessions do not come with a snapshot.",
        (
            Edit(
                "cluster/group/actor.py",
                "        self.machine = self._restore(self.state)\n",
                "        self.machine = self._restore(self.state)\n"
                "        self.machine._sessions._live.clear()\n",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "log-cut-too-far",
        "slow_follower_recovers",
        "A log is cut above what its state has durably.",
        (
            Edit(
                "cluster/group/snapshots.py",
                "index = min(target, state.durable_index)",
                "index = target",
            ),
        ),
    ),
)
"""Each breaks one rule in one way."""
