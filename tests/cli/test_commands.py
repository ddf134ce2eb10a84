"""Every command against a real node process."""

import json
import os
import signal
import subprocess
import sys

import pytest

from flowactor.cli.exits import Exit
from tests.processes.nodes import start_cold

pytestmark = pytest.mark.processes

ORDER = '{"item": "tea", "amount": 5}'


@pytest.fixture(scope="module")
def node(start_node):
    return start_node("--bootstrap", starter=start_cold)


@pytest.fixture
def run(node, make_commands):
    return make_commands(node.address)


def test_ready_line_says_who_and_where(node):
    """One JSON line on stdout, when the node serves: port 0 has become a real one."""
    assert node.ready["event"] == "ready"
    assert node.ready["node"] == 1
    assert node.ready["pid"] == node.running.pid
    assert not node.address.endswith(":0")


def test_start_and_wait(run):
    """The result is on stdout as JSON; starting the same again finds the same run."""
    first = run("start", "ProcessOrder", ORDER, "--id", "a", "--wait")
    assert (first.exit_code, first.stdout) == (0, '"paid 5"\n')
    again = run.json("start", "ProcessOrder", ORDER, "--id", "a")
    assert (again["id"], again["created"]) == ("a", False)
    assert run("result", "a").stdout == '"paid 5"\n'


def test_a_r31_same_id_with_other_input_is_refused(run):
    """A-R31: a duplicate with the same input is the same run, with another input a conflict."""
    run.json("start", "ProcessOrder", ORDER, "--id", "dup")
    refused = run.json("start", "ProcessOrder", ORDER.replace("5", "6"), "--id", "dup", code=4)
    assert refused["error"] == "AlreadyExists"


def test_arguments_come_from_stdin(run):
    """``-`` reads the JSON from stdin; an array holds several arguments."""
    result = run("start", "ProcessOrder", "-", "--wait", stdin=f"[{ORDER}, false]")
    assert result.stdout == '"paid 5"\n'


def test_a_r13_failed_run_is_code_1(run):
    """A-R13: the text of the failure is shown, on stderr, and the code tells it from a refusal."""
    result = run("start", "ProcessOrder", ORDER.replace("5", "-5"), "--id", "bad", "--wait")
    assert (result.exit_code, result.stdout) == (Exit.RUN_ENDED_BADLY, "")
    assert result.stderr == "bad failed\n  ValueError: a negative amount\n"
    shown = run.json("result", "bad", code=1)
    assert shown["status"] == "failed"
    assert shown["failure"]["message"] == "a negative amount"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("start", "Nope", "1"), "UnknownWorkflowType", "ProcessOrder v1"),
        (("start", "ProcessOrder", "1"), "InvalidInput", "$.order"),
        (("start", "ProcessOrder", '{"item": "tea"}'), "InvalidInput", "$.order.amount"),
        (
            ("start", "ProcessOrder", ORDER, "--version", "9"),
            "UnknownWorkflowType",
            "'ProcessOrder' v9",
        ),
        (("result", "nobody"), "NotFound", "nobody"),
        (("show", "nobody"), "NotFound", "nobody"),
        (("signal", "nobody", "add_note", '"x"'), "NotFound", "nobody"),
        (("cancel", "nobody"), "NotFound", "nobody"),
    ],
)
def test_refusals_are_code_4(run, arguments, error, text):
    """What the cluster refuses names what is wrong, in a form machines can read."""
    refused = run.json(*arguments, code=Exit.REFUSED)
    assert refused["error"] == error
    assert text in refused["message"]
    assert refused["retry_is_safe"] is False


def test_a_waiting_run_is_shown_asked_and_told(run):
    """Show, query and signal see one run; its result follows from the signal."""
    run.json("start", "ProcessOrder", f"[{ORDER}, true]", "--id", "wait")
    events = run("events", "wait", "--limit", "6")
    assert "timer_armed" in events.stdout
    shown = run.json("show", "wait")
    assert shown["status"] == "running"
    assert shown["owner"] == 1
    assert shown["variables"] == {"status": "processing"}
    assert [timer["timer"] for timer in shown["timers"]]
    assert shown["history"][0]["event"] == "started"
    assert "timers" in run("show", "wait").stdout
    assert run("query", "wait", "current_note").stdout == '""\n'
    assert run.json("signal", "wait", "add_note", '" soon"') == {"id": "wait", "changed": True}
    assert run("result", "wait", "--timeout", "10").stdout == '"paid 5 soon"\n'
    assert run.json("query", "wait", "current_note")["value"] == " soon"


def test_result_of_a_run_that_goes_on_is_code_3(run):
    """Waiting with a time-out ends as unavailable; the run is not touched."""
    run.json("start", "ProcessOrder", f"[{ORDER}, true]", "--id", "long")
    late = run.json("result", "long", "--timeout", "0.2", code=Exit.UNAVAILABLE)
    assert late["error"] == "DeadlineExceeded"
    assert run.json("cancel", "long", "--reason", "enough")["changed"] is True
    ended = run.json("result", "long", code=1)
    assert (ended["status"], ended["reason"]) == ("cancelled", "enough")


def test_terminate_ends_at_once(run):
    """No code of the run is needed for it to end."""
    run.json("start", "ProcessOrder", f"[{ORDER}, true]", "--id", "stop")
    run.json("terminate", "stop", "--reason", "no use")
    assert run.json("result", "stop", code=1)["status"] == "terminated"
    assert run.json("resume", "stop", code=4)["error"] == "AlreadyClosed"


def test_a_f15_list_pages_in_a_stable_order(run):
    """A-F15: limit 2, offset 1 gives two items, the same ones each time; filters narrow."""
    for number in range(4):
        run.json("start", "ProcessOrder", ORDER, "--id", f"page-{number}", "--wait")
    full = run.json("list")
    page = run.json("list", "--limit", "2", "--offset", "1")
    assert (
        page["runs"]
        == full["runs"][1:3]
        == run.json("list", "--limit", "2", "--offset", "1")["runs"]
    )
    assert page["total"] == full["total"] >= 4
    completed = run.json("list", "--status", "completed", "--type", "ProcessOrder")
    assert {each["status"] for each in completed["runs"]} == {"completed"}
    assert run.json("list", "--type", "Other") == {"total": 0, "runs": []}
    assert run("list").stdout.startswith("ID ")


def test_a_f15_events_of_a_run_end_with_it(run):
    """A-F15: one JSON line per event; the stream ends after the run's last."""
    run.json("start", "ProcessOrder", ORDER, "--id", "told", "--wait")
    lines = [json.loads(line) for line in run("events", "told", "--json").stdout.splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds[0] == "started"
    assert kinds[-1] == "completed"
    assert "step_scheduled" in kinds
    assert "step_completed" in kinds
    of_all = run("events", "--limit", "3", "--json").stdout.splitlines()
    assert len(of_all) == 3


def test_status_shows_nodes_and_groups(run, node):
    """The cluster as it is: this node, leading its group, with what it has registered."""
    status = run.json("status")
    [only] = status["nodes"]
    assert (only["node"], only["address"], only["reachable"]) == (1, node.address, True)
    assert only["workflows"] == ["ProcessOrder v1"]
    management, runs = status["groups"]
    assert (management["group"], runs["group"]) == (0, 1)
    for group in (management, runs):
        assert (group["role"], group["leader"], group["voters"]) == ("leader", 1, [1])
    assert "GROUP" in run("status").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_node_cleanly(start_node, make_commands, number):
    """SIGTERM and Ctrl-C end a node with code 0, and what was acknowledged is there again."""
    first = start_node("--bootstrap", "--data", f"stopped-{number}")
    make_commands(first.address).json("start", "ProcessOrder", ORDER, "--id", "kept", "--wait")
    assert first.stop(number) == 0
    assert '"event": "NodeStopped"' in first.log_text()
    second = start_node("--data", f"stopped-{number}")
    assert make_commands(second.address)("result", "kept").stdout == '"paid 5"\n'
    assert second.stop(number) == 0


def test_a_node_outlives_whoever_read_its_output(app_folder, make_commands):
    """With stdout and stderr gone, and much to log, it serves on and ends with code 0."""
    reader, writer = os.pipe()
    options = ["--listen", "127.0.0.1:0", "--data", "unread", "--app", "cli_app:app", "--bootstrap"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flowactor", "node", "--json", "--log-level", "debug", *options],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        cwd=app_folder,
        stdout=subprocess.PIPE,
        stderr=writer,
    )
    os.close(writer)
    with process:
        ready = json.loads(process.stdout.readline())
        os.close(reader)
        process.stdout.close()
        run = make_commands(ready["address"])
        for number in range(3):
            assert run("start", "ProcessOrder", ORDER, "--id", f"{number}", "--wait").exit_code == 0
        process.terminate()
    assert process.returncode == 0


def test_two_nodes_in_one_directory(start_node, node):
    """The second is told in one line why it cannot have the data directory of the first."""
    with pytest.raises(RuntimeError, match="StorageRefused"):
        start_node("--bootstrap")
