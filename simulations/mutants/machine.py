"""Mutants of the replicated state machine: runs, steps, timers, sessions, owners, rows."""

from typing import Final

from simulations.mutants.mutant import Edit, Mutant

__all__ = ["MACHINE"]

ADVANCE: Final = "machine/advance.py"
LEDGER: Final = "machine/ledger.py"
MACHINE_FILE: Final = "machine/machine.py"
OWNERSHIP: Final = "machine/ownership.py"
SESSIONS: Final = "machine/sessions.py"
STEPS: Final = "machine/steps.py"

MACHINE: Final = (
    Mutant(
        "session-not-asked",
        "proposal_once",
        "A repeated request is applied again.",
        (
            Edit(
                SESSIONS,
                "return session if reply is None else reply",
                "return session",
            ),
        ),
    ),
    Mutant(
        "replies-not-in-rows",
        "proposal_once",
        "A restarted node does not remember what sessions were answered.",
        (
            Edit(
                SESSIONS,
                "for sequence in sorted(session.replies.keys() - session.stored):",
                "for sequence in sorted(session.stored - session.replies.keys()):",
            ),
        ),
    ),
    Mutant(
        "start-opens-again",
        "proposal_once",
        "A second start of a workflow id opens a second run.",
        (
            Edit(
                "machine/lifecycle.py",
                "        if existing is not None:\n"
                "            return _same_or_conflict(existing, operation, digest)\n",
                "        if existing is not None and existing.input_digest != digest:\n"
                "            return _same_or_conflict(existing, operation, digest)\n",
            ),
        ),
    ),
    Mutant(
        "stale-epoch-applied",
        "stale_epoch_refused",
        "An activation of an owner of before is applied if it comes at the right position.",
        (
            Edit(
                ADVANCE,
                "if (advance.epoch, advance.position) != (run.epoch, run.position):",
                "if advance.position != run.position:",
            ),
        ),
    ),
    Mutant(
        "stale-position-applied",
        "stale_epoch_refused",
        "An activation is applied at whatever position the run has reached.",
        (
            Edit(
                ADVANCE,
                "if (advance.epoch, advance.position) != (run.epoch, run.position):",
                "if advance.epoch != run.epoch:",
            ),
        ),
    ),
    Mutant(
        "stale-failure-applied",
        "stale_epoch_refused",
        "The failure of an earlier attempt, told again, counts for the one that runs.",
        (
            Edit(
                STEPS,
                "if step is None or step.state is not StepState.RUNNING"
                " or step.attempt != operation.attempt:",
                "if step is None or step.state is not StepState.RUNNING:",
            ),
        ),
    ),
    Mutant(
        "epoch-stands-still",
        "owner_epoch_compare_and_set",
        "A new owner acts under the epoch of the old one.",
        (Edit(OWNERSHIP, "        run.epoch += 1\n", ""),),
    ),
    Mutant(
        "steps-not-restarted",
        "new_owner_really_runs",
        "What ran on the old owner is no new attempt on the new one.",
        (Edit(OWNERSHIP, "        restart_steps(self._ledger, run)\n", ""),),
    ),
    Mutant(
        "restart-not-noticed",
        "new_owner_really_runs",
        "An owner that comes back as another process goes on as if nothing had happened.",
        (
            Edit(
                OWNERSHIP,
                "restarted = known is not None and known.incarnation != operation.incarnation",
                "restarted = known is not None and not known.incarnation",
            ),
        ),
    ),
    Mutant(
        "result-stays-pending",
        "effect_recorded_once",
        "A step whose result was recorded still counts as running.",
        (
            Edit(
                ADVANCE, "    ledger.drop_step(run, item.step)\n    return item", "    return item"
            ),
        ),
    ),
    Mutant(
        "inbox-not-emptied",
        "one_delivery_path",
        "What was consumed stays in the inbox.",
        (Edit(LEDGER, "return run.inbox.pop(number)", "return run.inbox[number]"),),
    ),
    Mutant(
        "end-is-no-end",
        "terminal_is_absorbing",
        "A run that has ended is still open, and ends again.",
        (
            Edit(
                LEDGER,
                "        del self.open[run.run_id]\n        self._closed[run.run_id] = run\n",
                "        self._closed[run.run_id] = run\n",
            ),
        ),
    ),
    Mutant(
        "one-attempt-too-many",
        "errors_are_values",
        "A step is tried once more than its policy allows.",
        (
            Edit(
                STEPS,
                "attempt < rule.attempts_max",
                "attempt <= rule.attempts_max",
            ),
        ),
    ),
    Mutant(
        "one-attempt-too-few",
        "errors_are_values",
        "A step is given up one attempt before its policy says so.",
        (
            Edit(
                STEPS,
                "attempt < rule.attempts_max",
                "attempt + 1 < rule.attempts_max",
            ),
        ),
    ),
    Mutant(
        "hopeless-is-retried",
        "errors_are_values",
        "An error that says that no retry can help is retried.",
        (Edit(STEPS, "        failure.retryable\n        and not any", "        not any"),),
    ),
    Mutant(
        "named-errors-are-retried",
        "errors_are_values",
        "Errors that a policy names as final are retried.",
        (
            Edit(
                STEPS,
                "not any(name in rule.non_retryable for name in named)",
                "not all(name in rule.non_retryable for name in named)",
            ),
        ),
    ),
    Mutant(
        "retry-at-once",
        "errors_are_values",
        "Retries wait for the first interval only, however often they failed.",
        (
            Edit(
                STEPS,
                "backoff_ns(step.rule, step.attempt)",
                "backoff_ns(step.rule, 1)",
            ),
        ),
    ),
    Mutant(
        "timer-early",
        "timer_fires_once",
        "A timer fires half a second before its time.",
        (
            Edit(
                MACHINE_FILE,
                "while due := self._ledger.due.pop(self._clock_ns):",
                "while due := self._ledger.due.pop(self._clock_ns + 500_000_000):",
            ),
        ),
    ),
    Mutant(
        "timer-stays-armed",
        "timer_fires_once",
        "A timer that fired is still there, and fires again after a restart.",
        (
            Edit(
                LEDGER,
                "        self.disarm(run, key)\n        self.arrive(run, TimerFired(key, due_ns))",
                "        self.arrive(run, TimerFired(key, due_ns))",
            ),
        ),
    ),
    Mutant(
        "timers-lost-at-restart",
        "started_runs_found_by_scanning_state",
        "A restarted node does not know when its timers are due.",
        (
            Edit(
                LEDGER,
                "        for key, due_ns in run.timers.items():\n"
                "            self.due.add((due_ns, run.run_id, DueKind.TIMER, key))\n",
                "",
            ),
        ),
    ),
    Mutant(
        "retries-lost-at-restart",
        "started_runs_found_by_scanning_state",
        "A restarted node does not know when steps are to be tried again.",
        (
            Edit(
                LEDGER,
                "        if run.status is RunStatus.RUNNING:\n"
                "            self.expect_retries(run)\n\n"
                "    def _expect_no_more",
                "\n    def _expect_no_more",
            ),
        ),
    ),
    Mutant(
        "timer-not-in-rows",
        "applied_index_atomic",
        "A timer that is set is no row.",
        (
            Edit(
                LEDGER,
                "        self._touched_timers.setdefault((run.run_id, key), False)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "versions-not-read",
        "proposal_once",
        "A restarted node counts the versions of variables from zero again.",
        (
            Edit(
                "machine/variables.py",
                "self._versions[name] = 0 if row is None else row[1]",
                "self._versions[name] = 0",
            ),
        ),
    ),
    Mutant(
        "compare-not-made",
        "proposal_once",
        "A compare-and-set sets whatever it finds.",
        (
            Edit(
                "machine/variables.py",
                "if version != operation.expected:",
                "if version < operation.expected:",
            ),
        ),
    ),
    Mutant(
        "order-of-arrival",
        "canonical_bytes",
        "Steps are restarted in the order of a mapping, which another node restored from rows.",
        (
            Edit(
                STEPS,
                "for key, step in sorted(run.steps.items()):",
                "for key, step in run.steps.items():",
            ),
        ),
    ),
    Mutant(
        "order-of-a-set",
        "canonical_bytes",
        "Runs get new owners in the order of a set of texts.",
        (
            Edit(
                OWNERSHIP,
                "for run_id in sorted(open_runs)]",
                "for run_id in set(open_runs)]",
            ),
        ),
        by_hash_seed=True,
    ),
    Mutant(
        "local-time-in-state",
        "canonical_bytes",
        "The machine looks at the clock of its own process.",
        (
            Edit(
                MACHINE_FILE,
                "from hashlib import blake2b\n",
                "import time\nfrom hashlib import blake2b\n",
            ),
            Edit(
                MACHINE_FILE,
                "self._clock_ns = max(self._clock_ns, batch.stamp_ns)",
                "self._clock_ns = max(self._clock_ns, batch.stamp_ns) + time.time_ns() % 2",
            ),
        ),
    ),
    Mutant(
        "chance-in-state",
        "canonical_bytes",
        "The machine rolls dice of its own when it chooses an owner.",
        (
            Edit(
                OWNERSHIP,
                "from flowactor.identity import NodeId, RunId\n",
                "from random import Random\n\nfrom flowactor.identity import NodeId, RunId\n",
            ),
            Edit(
                OWNERSHIP,
                "        able = [node for node in self._candidates()"
                " if node.has(workflow_type, version)]\n"
                "        if any(node.node == first for node in able):",
                "        able = [node for node in self._candidates()"
                " if node.has(workflow_type, version)]\n"
                "        able = able[: Random(id(self)).randint(1, 9)]\n"
                "        if any(node.node == first for node in able):",
            ),
        ),
    ),
)
