"""What users write, and the deterministic interpreter that runs it. Pure: no Trio, no clock, no
disk.

User code is a coroutine, driven by hand: ``Interpreter.activate`` feeds it the facts of one
activation and returns the commands it asked for. The same facts give the same commands on every
node, in every replay and in the simulator, because nothing else reaches the code: time is the
activation's stamp, chance a generator seeded from the run's id, branches take turns in a fixed
order.

What the driver (an instance actor, a test) owes:

1. Activate in the order of the history, with the stamps that are recorded in it.
2. Do what the commands say only once the activation is recorded; then run the steps by ``call_of``.
3. If ``Activation.more`` is set, activate again with no events before anything else.
4. Ask queries between activations, when the last one is recorded.
5. Set ``live`` on the owner around first-time activations, and only there.
6. ``close()`` an interpreter that is given up before the end.
7. If it runs in an event loop, give the interpreter an ``Outside`` that hides the loop.
"""

from flowactor.workflow.app import App
from flowactor.workflow.cancellation import Cancelled
from flowactor.workflow.clock import (
    checkpoint,
    now,
    random,
    sleep,
    sleep_forever,
    sleep_until,
    time_ns,
    uuid4,
    wait_condition,
    workflow_info,
)
from flowactor.workflow.context import Outside
from flowactor.workflow.definition import (
    Handler,
    HandlerKind,
    WorkflowDefinition,
    definition_of,
    handler_of,
    query,
    signal,
    workflow,
)
from flowactor.workflow.determinism import Mismatch, compare
from flowactor.workflow.failures import decode_failure, encode_failure
from flowactor.workflow.interpreter import Activation, Interpreter
from flowactor.workflow.logs import logger
from flowactor.workflow.nursery import Nursery, gather, open_nursery, race
from flowactor.workflow.replay import Activated, Departure, activations, follow, replay
from flowactor.workflow.scheduler import RunInfo
from flowactor.workflow.scopes import CancelScope, fail_after, fail_at, move_on_after, move_on_at
from flowactor.workflow.signatures import Signature
from flowactor.workflow.steps import (
    RetryPolicy,
    Step,
    StepCall,
    StepInfo,
    compute,
    step,
    step_context,
    step_info,
)
from flowactor.workflow.variables import Variable, variable

__all__ = [
    "Activated",
    "Activation",
    "App",
    "CancelScope",
    "Cancelled",
    "Departure",
    "Handler",
    "HandlerKind",
    "Interpreter",
    "Mismatch",
    "Nursery",
    "Outside",
    "RetryPolicy",
    "RunInfo",
    "Signature",
    "Step",
    "StepCall",
    "StepInfo",
    "Variable",
    "WorkflowDefinition",
    "activations",
    "checkpoint",
    "compare",
    "compute",
    "decode_failure",
    "definition_of",
    "encode_failure",
    "fail_after",
    "fail_at",
    "follow",
    "gather",
    "handler_of",
    "logger",
    "move_on_after",
    "move_on_at",
    "now",
    "open_nursery",
    "query",
    "race",
    "random",
    "replay",
    "signal",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "step",
    "step_context",
    "step_info",
    "time_ns",
    "uuid4",
    "variable",
    "wait_condition",
    "workflow",
    "workflow_info",
]
