"""Mutants of sleep: who goes quiet and should not, and who does not wake."""

from typing import Final

from simulations.mutants.mutant import Edit, Mutant

__all__ = ["QUIET"]

GROUP: Final = "cluster/group/actor.py"
QUIESCENCE: Final = "raft/quiescence.py"
TICKING: Final = "cluster/group/ticking.py"
VIGIL: Final = "cluster/vigil.py"
NIGHT: Final = "a-sleeping-cluster"
FIRST_NIGHT: Final = "a-newcomer-at-night"
LAGGARD: Final = "a-laggard-at-night"

QUIET: Final = (
    Mutant(
        "laggards-left-behind",
        "quiet_group_wakes",
        "A leader goes quiet as soon as its own log is settled, whoever lacks what.",
        (
            Edit(
                QUIESCENCE,
                "    return all(member.match_index == last or _is_lost(state, member)"
                " for member in members)\n",
                "    return bool(members) or last >= 0\n",
            ),
            Edit(
                QUIESCENCE,
                "member.quiet_round >= role.quiet_round or _is_lost(state, member)",
                "member.quiet_round >= 0",
            ),
        ),
        scenario=LAGGARD,
    ),
    Mutant(
        "silence-unheard",
        "quiet_group_wakes",
        "A node that falls silent is noticed only if its link breaks.",
        (
            Edit(
                VIGIL,
                "            elif self._awake_ns - heard_ns >= _SILENCE_NS:\n",
                "            elif heard_ns > self._awake_ns:\n",
            ),
        ),
        scenario=NIGHT,
    ),
    Mutant(
        "members-unasked",
        "failure_detected_on_idle_cluster",
        "A leader asks no member for signs of life: nobody misses those of an owner of runs.",
        (
            Edit(
                VIGIL,
                "        return status.configuration.members\n",
                "        return (status.leader,)\n",
            ),
        ),
        scenario=NIGHT,
    ),
    Mutant(
        "learners-unasked",
        "failure_detected_on_idle_cluster",
        "A leader asks only who votes for signs of life.",
        (
            Edit(
                VIGIL,
                "        return status.configuration.members\n",
                "        return status.configuration.voters\n",
            ),
        ),
        scenario=FIRST_NIGHT,
    ),
    Mutant(
        "leaders-unasked",
        "quiet_group_wakes",
        "Who follows a leader asks it for no signs of life.",
        (Edit(VIGIL, "    return (status.leader,) if status", "    return () if status"),),
        scenario=NIGHT,
    ),
    Mutant(
        "followers-sleep-on",
        "quiet_group_wakes",
        "That a node is gone is told only to those who lead.",
        (
            Edit(
                GROUP,
                "        if wake.node == status.leader or (\n",
                "        if wake.node == 0 or (\n",
            ),
        ),
        scenario=NIGHT,
    ),
    Mutant(
        "leaders-sleep-on",
        "failure_detected_on_idle_cluster",
        "That a node is gone is told only to those who follow it.",
        (
            Edit(
                GROUP,
                "            self.is_leader and wake.node in status.configuration.members\n",
                "            self.is_leader and wake.node == status.leader\n",
            ),
        ),
        scenario=NIGHT,
    ),
    Mutant(
        "timers-asleep",
        "quiet_group_wakes",
        "A group that rests has no alarm for its timers.",
        (
            Edit(
                TICKING,
                "        if left_ns is not None:\n",
                "        if left_ns is not None and not rests:\n",
            ),
        ),
        scenario=NIGHT,
    ),
)
