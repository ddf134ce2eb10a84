"""Mutants of the running parts: owners and standbys, effects, proposals, reads, clocks, leases."""

from typing import Final

from simulations.mutants.mutant import RESHAPING, Edit, Mutant

__all__ = ["ACTORS"]

GROUP: Final = "cluster/group/actor.py"
INSTANCE: Final = "cluster/runs/instance.py"
INSTANCES: Final = "cluster/runs/instances.py"
LIVENESS: Final = "cluster/runs/liveness.py"
LOG_CLOCK: Final = "cluster/group/log_clock.py"
OF_RUNS: Final = "tests/cluster/test_run_actors.py"
READS: Final = "cluster/group/reads.py"
STEP_RUNNER: Final = "cluster/runs/steps.py"

ACTORS: Final = (
    Mutant(
        "lease-too-short",
        "leader_waits_a_lease_before_reassigning",
        "A node that was silent for a moment loses its runs while it performs them.",
        (
            Edit(
                LIVENESS,
                "self._lease_ticks: Final = lease_seconds / TICK_SECONDS",
                "self._lease_ticks: Final = lease_seconds / TICK_SECONDS / 10",
            ),
        ),
    ),
    Mutant(
        "dead-keep-their-runs",
        "failure_detected_on_idle_cluster",
        "Nobody looks whether a silent node is dead.",
        (
            Edit(
                LIVENESS,
                "if state.alive and silence.get(node, 0) >= self._lease_ticks",
                "if state.alive and silence.get(node, 0) < 0",
            ),
        ),
    ),
    Mutant(
        "silence-noticed-in-traffic-only",
        "failure_detected_on_idle_cluster",
        "A dead node is noticed only while the leader itself has something in its log to commit.",
        (
            Edit(
                LIVENESS,
                "        if self._group.is_leader:\n",
                "        status = self._group.progress()\n"
                "        if self._group.is_leader and status.commit_index < status.last_index:\n",
            ),
        ),
    ),
    Mutant(
        "effect-before-commit",
        "effect_after_output_commit",
        "An owner starts steps as soon as its code asks for them.",
        (
            Edit(
                INSTANCE,
                "            self._activate(run, self._interpreter)\n",
                "            self._activate(run, self._interpreter)\n"
                "            for command in self._proposed.commands if self._proposed else ():\n"
                "                if isinstance(command, ScheduleStep):\n"
                "                    step, scope = command.step, trio.CancelScope()\n"
                "                    call = self._interpreter.call_of(step)\n"
                "                    begun = self._bodies[step] = (1, scope)\n"
                "                    tasks.start_soon(self._execute, step, call, begun)\n",
            ),
            Edit(
                INSTANCE,
                "from flowactor.machine.events import Event, StepCompleted, TimerFired\n",
                "from flowactor.machine.commands import ScheduleStep\n"
                "from flowactor.machine.events import Event, StepCompleted, TimerFired\n",
            ),
            Edit(
                INSTANCE,
                "from flowactor.machine.state import RunState, StepState\n",
                "from flowactor.machine.state import PendingStep, RunState, StepState\n",
            ),
            Edit(
                INSTANCE,
                "        pending = None if run is None else run.steps.get(step)\n",
                "        pending = None if run is None else run.steps.get(step)\n"
                "        for command in self._proposed.commands if self._proposed else ():\n"
                "            if isinstance(command, ScheduleStep) and command.step == step:\n"
                "                pending = PendingStep(command, 1, StepState.RUNNING, 0)\n",
            ),
        ),
    ),
    Mutant(
        "body-runs-twice",
        "effect_recorded_once",
        "An owner that looks at its steps again starts those that run already.",
        (
            Edit(
                INSTANCE,
                "            if known is not None and known[0] == pending.attempt:\n"
                "                continue\n",
                "",
            ),
        ),
    ),
    Mutant(
        "late-body-is-the-next",
        "effect_recorded_once",
        "A body asks at its first moment which attempt it is, and not when it was started.",
        (
            Edit(
                INSTANCE,
                "(pending.attempt, pending.state) == (begun[0], StepState.RUNNING)\n",
                "pending.state is StepState.RUNNING\n",
            ),
            Edit(
                INSTANCE,
                "if as_begun and self._bodies.get(step) == begun else None",
                "if as_begun else None",
            ),
        ),
        scenario=RESHAPING,
    ),
    Mutant(
        "late-body-does-not-look",
        "effect_recorded_once",
        "A body begins where it is known already that its run is another's, or has ended.",
        (
            Edit(
                INSTANCE,
                "        run = self._group.machine.runs.get(self.run_id)\n"
                "        pending = None if run is None else run.steps.get(step)\n"
                "        if run is None or pending is None or not self._is_owner(run):\n"
                "            return None\n",
                '        run, pending = self.__dict__["due"][step]\n',
            ),
            Edit(
                INSTANCE,
                "            begun = self._bodies[step] = (pending.attempt, scope)\n",
                "            begun = self._bodies[step] = (pending.attempt, scope)\n"
                '            self.__dict__.setdefault("due", {})[step] = run, pending\n',
            ),
        ),
        test=f"{OF_RUNS}::test_a_body_does_not_begin_once_its_node_knows_that_it_must_not",
    ),
    Mutant(
        "old-process-goes-on",
        "new_owner_really_runs",
        "A restarted process performs runs before the cluster knows that it is another one.",
        (
            Edit(
                INSTANCE,
                "            and known.incarnation == self._incarnation\n",
                "",
            ),
        ),
    ),
    Mutant(
        "new-owner-not-woken",
        "new_owner_really_runs",
        "The actor of a run is not told that its node has become the owner.",
        (
            Edit(
                INSTANCES,
                "        self._tell(run_id, notice)\n        workflow_id",
                "        workflow_id",
            ),
        ),
    ),
    Mutant(
        "open-runs-not-found",
        "started_runs_found_by_scanning_state",
        "A restarted node knows only runs that it sees begin.",
        (
            Edit(
                INSTANCES,
                "self._lay_down(self._group.machine.runs)",
                "self._lay_down(())",
            ),
        ),
    ),
    Mutant(
        "only-leaders-tell",
        "one_delivery_path",
        "Followers apply the log, and do not tell the actors of their runs.",
        (
            Edit(
                GROUP,
                "                if outcome.notices:\n                    self._on_notices",
                "                if outcome.notices and self.is_leader:\n"
                "                    self._on_notices",
            ),
        ),
    ),
    Mutant(
        "result-wakes-nobody",
        "waiter_registered_atomically",
        "A body ends, and the actor that waits for it is not woken.",
        (
            Edit(
                INSTANCE,
                "                self._unsettled.add((step, attempt), encode(failed))\n"
                "            self.tell(Wake())\n",
                "                self._unsettled.add((step, attempt), encode(failed))\n",
            ),
        ),
    ),
    Mutant(
        "inbox-wakes-nobody",
        "waiter_registered_atomically",
        "Something new in the inbox of a run does not wake its actor.",
        (
            Edit(
                INSTANCES,
                "                case notices.InboxGrew() | notices.RunResumed():\n"
                "                    self._tell(notice.run_id, Wake())\n",
                "                case notices.InboxGrew() | notices.RunResumed():\n"
                "                    pass\n",
            ),
        ),
    ),
    Mutant(
        "retry-wakes-nobody",
        "waiter_registered_atomically",
        "A step whose back-off is over is not looked for.",
        (
            Edit(
                INSTANCE,
                "            case StepsDue() | OwnerChanged():\n"
                "                self._look_for_steps = True\n",
                "            case StepsDue() | OwnerChanged():\n"
                "                self._look_for_steps |= isinstance(message, OwnerChanged)\n",
            ),
        ),
    ),
    Mutant(
        "proposed-once-only",
        "proposal_once",
        "What an actor proposed and lost is never proposed again.",
        (Edit("cluster/runs/unsettled.py", "if sent.at_ns <= old:", "if sent.at_ns < 0:"),),
    ),
    Mutant(
        "request-sent-once-only",
        "proposal_once",
        "A client's operation that was lost with a leader is not sent again.",
        (
            Edit(
                "cluster/group/proposals.py",
                "        for entry in again:\n            entry.sent_ns = now_ns",
                "        again.clear()\n"
                "        for entry in again:\n            entry.sent_ns = now_ns",
            ),
        ),
    ),
    Mutant(
        "timer-stamp-lost",
        "timer_fires_once",
        "The stamp of a leader of before, lost with its log, is taken to have fired the timers.",
        (
            Edit(
                GROUP,
                "        self._stamp_ns = 0\n        self._waiting_peers.clear()",
                "        self._waiting_peers.clear()",
            ),
        ),
        scenario="a-stamp-that-was-lost",
    ),
    Mutant(
        "log-time-stands-still",
        "timer_fires_once",
        "Log time moves only when something is proposed.",
        (
            Edit(
                LOG_CLOCK,
                "return self._stamp_ns + self._clock.monotonic_ns() - self._stamped_at_ns",
                "return self._stamp_ns",
            ),
        ),
    ),
    Mutant(
        "log-time-is-wall-time",
        "timer_fires_once",
        "A wall clock that is set back stops log time until it has caught up.",
        (
            Edit(
                LOG_CLOCK,
                "self.follow(max(self.now_ns(), self._clock.now_ns()))",
                "self.follow(max(self._stamp_ns, self._clock.now_ns()))",
            ),
            Edit(
                LOG_CLOCK,
                "return self._stamp_ns + self._clock.monotonic_ns() - self._stamped_at_ns",
                "return max(self._stamp_ns, self._clock.now_ns())",
            ),
        ),
    ),
    Mutant(
        "rows-ahead-of-their-index",
        "applied_index_atomic",
        "Rows are stored with the index before the one they are the state at.",
        (
            Edit(
                GROUP,
                "self.state.write(self.machine.take_writes(), self.applied)",
                "self.state.write(self.machine.take_writes(), max(0, self.applied - 1))",
            ),
        ),
    ),
    Mutant(
        "index-ahead-of-its-rows",
        "applied_index_atomic",
        "The applied index is stored before the rows are.",
        (
            Edit(
                GROUP,
                "self.state.write(self.machine.take_writes(), self.applied)",
                "self.state.write((), self.applied)",
            ),
        ),
    ),
    Mutant(
        "stale-follower-answers",
        "readindex_waits_for_own_term",
        "Any node answers reads from what it happens to have applied.",
        (
            Edit(
                GROUP,
                "        promise: Promise[None] = Promise()\n"
                "        self.mailbox.put_nowait(Barrier(promise))\n",
                "        promise: Promise[None] = Promise()\n        promise.set(None)\n",
            ),
        ),
    ),
    Mutant(
        "read-not-awaited",
        "readindex_waits_for_own_term",
        "A read is answered as soon as its index is known, applied or not.",
        (Edit(READS, "        if index <= applied:\n", "        if index >= 0:\n"),),
    ),
    Mutant(
        "read-waits-for-the-next",
        "waiter_registered_atomically",
        "A read whose index is applied already waits until something else is.",
        (Edit(READS, "        if index <= applied:\n", "        if index < 0:\n"),),
    ),
    Mutant(
        "lost-read-forgotten",
        "readindex_waits_for_own_term",
        "A read whose question or answer was lost is never asked again.",
        (
            Edit(
                READS,
                "        self._new.local.extend(promise for promise in asked.local"
                " if not promise.done)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "time-out-is-any-error",
        "errors_are_values",
        "That a step ran out of time is recorded as any other failure.",
        (
            Edit(
                STEP_RUNNER,
                "return encode_failure(StepTimedOut(text, kind))",
                "return encode_failure(NonRetryableError(text))",
            ),
        ),
    ),
    Mutant(
        "keys-run-together",
        "structured_keys",
        "The idempotency key leaves out which call of a step it is.",
        (
            Edit(
                STEP_RUNNER,
                "return f\"{run.run_id}:{'.'.join(map(str, scope))}/{name}#{occurrence}\"",
                'return f"{run.run_id}:/{name}"',
            ),
        ),
    ),
)
