"""The demo as a process: what it promises, and that it leaves nothing behind."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from flowactor.cli.demo import DemoFailed, Summary
from flowactor.cli.demo_app import STEPS
from flowactor.cli.demo_board import Board, OrderState
from flowactor.cli.exits import Exit, exit_of
from flowactor.cluster.protocol.requests import EventView

DEMO = [sys.executable, "-m", "flowactor", "demo"]


def addresses_of(folder) -> list[str]:
    """Where the demo's nodes listened, as their logs say."""
    lines = [line for log in folder.glob("*/node.log") for line in log.read_text().splitlines()]
    events = [json.loads(line) for line in lines]
    return [each["address"] for each in events if each["event"] == "NodeStarted"]


def is_listening(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.processes
def test_demo_finishes_every_order(tmp_path):
    """Every order ends although an owner is killed; nothing is recorded twice, or left behind."""
    done = subprocess.run(
        [*DEMO, "--json", "--orders", "6", "--keep", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["orders_finished"] == summary["orders"] == 6
    assert summary["steps_recorded"] == 6 * len(STEPS)
    assert summary["steps_recorded_twice"] == 0
    assert summary["runs_moved"] > 0
    assert summary["executed_again"] > 0
    assert summary["steps_executed"] == summary["steps_recorded"] + summary["executed_again"]
    assert summary["handover_seconds"] > 0
    addresses = addresses_of(tmp_path)
    assert len(addresses) == 4  # three, and the one that came back
    assert not any(map(is_listening, addresses))


@pytest.mark.processes
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_interrupted_demo_leaves_no_process(tmp_path, number):
    """Ctrl-C and SIGTERM end the nodes too."""
    demo = subprocess.Popen(
        [*DEMO, "--keep", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in demo.stdout:
        if "starting 12 orders" in line:
            break
    addresses = addresses_of(tmp_path)
    assert len(addresses) == 3
    demo.send_signal(number)
    demo.communicate(timeout=30)
    assert demo.returncode == Exit.INTERRUPTED
    assert not any(map(is_listening, addresses))


def summary(**changes) -> Summary:
    counts = {
        "orders": 2,
        "orders_finished": 2,
        "runs_moved": 1,
        "steps_recorded": 2 * len(STEPS),
        "steps_recorded_twice": 0,
        "steps_executed": 2 * len(STEPS) + 1,
        "executed_again": 1,
        "reassigned_seconds": 1.0,
        "handover_seconds": 1.0,
        "catch_up_seconds": 1.0,
        "applied_index": 9,
        "seconds": 9.0,
    }
    return Summary(**{**counts, **changes})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"orders_finished": 1}, "1 orders lost"),
        ({"steps_recorded_twice": 1}, "1 steps recorded twice"),
        ({"steps_recorded": 11, "steps_executed": 11}, "11 of 12 steps recorded"),
        ({"steps_executed": 11}, "never ran"),
    ],
)
def test_demo_fails_if_something_is_off(changes, text):
    """The demo judges itself: a lost order or a step recorded twice is a failure."""
    summary().check()
    with pytest.raises(DemoFailed, match=text) as caught:
        summary(**changes).check()
    assert exit_of(caught.value) is Exit.NODE_FAILED


def test_board_measures_the_hand_over():
    """From the kill to the first new owner, and to the first step that one of them recorded."""
    board = Board({"a": OrderState(), "b": OrderState()})

    def see(order: str, kind: str, node: int, at: float) -> list[str]:
        view = EventView(1, 1, 0, 0, order, "r", kind, "charge_card", node)
        return list(board.see(view, at))

    see("a", "started", 1, 1.0)
    see("b", "started", 2, 1.0)
    board.kill(1, 10.0)
    assert see("b", "step_completed", 2, 10.5) == []
    assert "1.5 s" in see("a", "owner_changed", 2, 11.5)[0]
    assert see("b", "step_completed", 2, 11.6) == []
    assert "node 2" in see("a", "step_completed", 2, 12.0)[0]
    assert (board.reassigned_seconds, board.handover_seconds) == (1.5, 2.0)
    assert board.moved == 1
    assert dict(board.owned()) == {2: 2}
    see("a", "completed", 2, 13.0)
    assert (board.finished, board.all_ended) == (1, False)
    assert "steps 3/12" in board.line()
