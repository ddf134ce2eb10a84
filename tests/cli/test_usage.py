"""What is wrong is said in one line, with the right exit code, before anything is done."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

from flowactor import errors
from flowactor.cli import main
from flowactor.cli.exits import Exit, exit_of
from flowactor.cli.node_command import fix_hash_seed, load_app, log_event, refuse_optimized
from flowactor.cli.options import only_error
from flowactor.cli.output import Output
from flowactor.cli.views import clock, time
from flowactor.observability.events import LinkDown, RunParked

NODE = ("node", "--listen", "127.0.0.1:0", "--data", "unused", "--app", "cli_app:app")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("start", "T", "{bad"), "is not JSON"),
        (("start", "T", "word"), "needs its quotes"),
        (("start", "T", "1", "--version", "-1"), "--version"),
        (("start", "T", "1", "--run-timeout", "0"), "--run-timeout"),
        (("start",), "Missing argument"),
        (("list", "--status", "happy"), "happy"),
        (("list", "--limit", "0"), "--limit"),
        (("list", "--connect", "nowhere"), "is no address"),
        (("list", "--connect", ""), "no address given"),
        (("signal", "w"), "Missing argument"),
        (("result", "w", "--timeout", "soon"), "--timeout"),
        (("node",), "--listen"),
        ((*NODE, "--join", "a:1", "--bootstrap"), "--join"),
        ((*NODE, "--join", "a:1", "--peers", "b:1"), "--join"),
        ((*NODE, "--peers", "a"), "is no address"),
        (("fly",), "No such command"),
    ],
)
def test_wrong_usage_is_code_2(command, arguments, text):
    """Click's usage errors and ours look alike: the text names what is wrong, the code is 2."""
    result = command(*arguments)
    assert result.exit_code == Exit.USAGE
    assert text in result.stderr
    assert result.stdout == ""


def test_stdin_is_read_for_a_dash(command):
    """``-`` takes the JSON from stdin, and checks it as well."""
    result = command("start", "T", "-", stdin="{oops")
    assert result.exit_code == Exit.USAGE
    assert "'{oops' is not JSON" in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_no_node_is_code_3(command, as_json, monkeypatch):
    """Without a node a client command says so soon, on stderr, also for machines."""
    monkeypatch.setattr("flowactor.cli.options.CONNECT_SECONDS", 0.1)
    result = command("list", *(["--json"] if as_json else []))
    assert result.exit_code == Exit.UNAVAILABLE
    assert result.stdout == ""
    if as_json:
        described = json.loads(result.stderr)
        assert described["error"] == "Unavailable"
        assert described["retry_is_safe"] is True
        assert described["outcome_unknown"] is False
    else:
        assert re.fullmatch(r"error: Unavailable: .*127\.0\.0\.1:1.*\n", result.stderr)


def test_every_command_is_documented():
    """``docs/cli.md`` has a section for each command, and each has a help text."""
    reference = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    for group in (commands["members"], commands["groups"]):
        for name, command in group.commands.items():
            assert f"`{group.name} {name}" in reference, name
            commands[f"{group.name} {name}"] = command
    for name, command in commands.items():
        assert f"## `{name.split()[0]}" in reference, name
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"`{parameter.opts[0]}" in reference, (name, parameter.opts[0])


def test_a_node_does_not_wait_for_the_simulator():
    """A command imports what it needs, and not what other commands need."""
    program = (
        "import sys; from flowactor.cli import main; main.get_command(None, 'node');"
        "print(sorted({name.split('.')[1] for name in sys.modules if name[:10] == 'flowactor.'}))"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert "'node'" in imported
    assert "'simulation'" not in imported
    assert "'testing'" not in imported


def test_exit_codes_are_documented(command):
    """The help of the whole and the reference list every exit code."""
    reference = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    helped = command("--help").stdout
    for code in Exit:
        assert re.search(rf"^ +{code.value} ", helped, re.MULTILINE), code
        assert f"| {code.value} |" in reference, code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WorkflowFailed("x"), Exit.RUN_ENDED_BADLY),
        (errors.NotFound("x"), Exit.REFUSED),
        (errors.ConfigurationError("x"), Exit.REFUSED),
        (errors.Unavailable("x"), Exit.UNAVAILABLE),
        (errors.DeadlineExceeded("x"), Exit.UNAVAILABLE),
        (errors.SessionExpired("x"), Exit.UNAVAILABLE),
        (errors.Refused("x"), Exit.REFUSED),
        (errors.StorageFull("x"), Exit.NODE_FAILED),
        (errors.StorageRefused("x"), Exit.NODE_FAILED),
        (errors.DeterminismViolation("x"), Exit.NODE_FAILED),
    ],
)
def test_exit_code_says_who_must_act(error, code):
    """The run, the caller, the world, or the node: each has its code."""
    assert exit_of(error) is code


def test_only_our_own_errors_are_shortened():
    """A group that holds a bug of ours is not turned into one friendly line."""
    ours = errors.NotFound("x")
    assert only_error(ExceptionGroup("", [ExceptionGroup("", [ours])])) is ours
    assert only_error(ExceptionGroup("", [ours, ZeroDivisionError()])) is None


# -- node --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cli_app", "MODULE:ATTR"),
        (":app", "MODULE:ATTR"),
        ("no_such_module_here:app", "no module 'no_such_module_here'"),
        ("flowactor.nothing:app", "no module 'flowactor.nothing'"),
        ("cli_broken:app", r"cli_broken\.py:2: ZeroDivisionError: division by zero"),
        ("cli_needy:app", r"cli_needy\.py:1: ModuleNotFoundError: No module named 'unheard_of'"),
        ("cli_other:app", "has no 'app'"),
        ("cli_other:number", "of type int, not a flowactor App"),
    ],
)
def test_app_that_cannot_be_loaded(path, text, tmp_path, monkeypatch):
    """Whatever is wrong with ``--app`` is one line that names module, file and line."""
    (tmp_path / "cli_broken.py").write_text("one = 1\none / 0\n")
    (tmp_path / "cli_needy.py").write_text("import unheard_of\n")
    (tmp_path / "cli_other.py").write_text("number = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    with pytest.raises(errors.ConfigurationError, match=text) as caught:
        load_app(path)
    assert "\n" not in str(caught.value)


def test_app_is_found_in_the_current_directory(app_folder, monkeypatch):
    """As with other servers, the module need not be installed."""
    monkeypatch.chdir(app_folder)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    assert load_app("cli_app:app").registered == (("ProcessOrder", 1),)


@pytest.mark.parametrize(
    ("environment", "restarts"),
    [({}, True), ({"PYTHONHASHSEED": "random"}, True), ({"PYTHONHASHSEED": "0"}, False)],
)
def test_hash_seed_is_fixed_once(environment, restarts):
    """A node starts itself again only if its hash seed is not fixed, and then with one that is."""
    calls = []
    fix_hash_seed({"HOME": "/", **environment}, lambda *call: calls.append(call))
    assert len(calls) == restarts
    for _, arguments, fixed in calls:
        assert fixed == {"HOME": "/", "PYTHONHASHSEED": "0"}
        assert len(arguments) >= 1


def test_optimized_python_is_refused():
    """Without assertions a node would go on over a broken invariant."""
    refuse_optimized(0)
    with pytest.raises(errors.ConfigurationError, match="-O"):
        refuse_optimized(1)


def test_node_refuses_what_others_could_reach(command, fixed_hash_seed, app_folder, monkeypatch):
    """Without encryption only loopback is listened on, unless somebody insists."""
    monkeypatch.chdir(app_folder)
    arguments = ["--listen", "0.0.0.0:0", "--data", "open", "--app", "cli_app:app", "--bootstrap"]
    result = command("node", *arguments)
    assert result.exit_code == Exit.REFUSED
    assert "--insecure" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_new_directory_needs_a_cluster(command, fixed_hash_seed, app_folder, monkeypatch):
    """The refusal names the options of the command line, one of which is missing."""
    monkeypatch.chdir(app_folder)
    arguments = ["--listen", "127.0.0.1:0", "--data", "fresh", "--app", "cli_app:app"]
    result = command("node", *arguments)
    assert result.exit_code == Exit.REFUSED
    for option in ("--bootstrap", "--peers", "--join"):
        assert option in result.stderr
    assert result.stderr.count("\n") == 1


class StoppedClock:
    def now_ns(self) -> int:
        return 1_700_000_000_123_000_000


@pytest.mark.parametrize(
    ("threshold", "as_json", "line"),
    [
        (20, False, "2023-11-14T22:13:20.123+00:00 warning link down: peer=2 reason=gone\n"),
        (20, True, None),
        (40, False, ""),
    ],
)
def test_events_become_log_lines(threshold, as_json, line, capsys):
    """An event of the wanted level is one line on stderr, as text or JSON; others are none."""
    log_event(StoppedClock(), threshold, as_json, LinkDown(2, "gone"))
    out, err = capsys.readouterr()
    assert out == ""
    if as_json:
        assert json.loads(err) == {
            "time": "2023-11-14T22:13:20.123+00:00",
            "level": "warning",
            "event": "LinkDown",
            "peer": 2,
            "reason": "gone",
        }
    else:
        assert err == line


def test_an_event_of_several_lines_is_one_line(capsys):
    """Reasons that show both sides of a mismatch keep to the one line that a log gives them."""
    log_event(StoppedClock(), 20, False, RunParked("r1", "w", "differs\n  recorded: a\n  now: b"))
    assert capsys.readouterr().err == (
        "2023-11-14T22:13:20.123+00:00 warning run parked: run_id=r1 workflow_id=w reason=differs "
        "recorded: a now: b\n"
    )


@pytest.fixture
def broken_pipe():
    """The writing end of a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w", closefd=False)  # noqa: SIM115  # to close it is an error by then
    yield stream
    with suppress(BrokenPipeError):
        stream.close()
    os.close(writer)


def test_a_log_that_nobody_reads_is_given_up(broken_pipe, monkeypatch):
    """A node whose stderr has lost its reader goes on without a log."""
    monkeypatch.setattr("sys.stderr", broken_pipe)
    for peer in range(9):
        log_event(StoppedClock(), 20, False, LinkDown(peer, "gone"))


def test_output_that_nobody_reads_ends_a_command(broken_pipe, monkeypatch):
    """On stdout it is the command's whole purpose: there is nothing left to do."""
    monkeypatch.setattr("sys.stdout", broken_pipe)
    with pytest.raises(BrokenPipeError):
        Output(False).text("a result")


def test_the_exit_code_needs_no_reader(broken_pipe, app_folder):
    """An error that cannot be told still ends the command with its own code."""
    arguments = ["--listen", "nonsense", "--data", "never", "--app", "cli_app:app"]
    ended = subprocess.run(
        [sys.executable, "-m", "flowactor", "node", *arguments],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        cwd=app_folder,
        stderr=broken_pipe,
        check=False,
    )
    assert ended.returncode == Exit.REFUSED


# -- output ------------------------------------------------------------------------------------


def test_tables_are_plain_text_without_a_terminal(capsys):
    """Columns are aligned, nothing is cut, and there are no colours or frames."""
    Output(False).table("runs", ("id", "state"), [("a" * 120, "[red]"), ("b", "ok")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "runs"
    assert lines[1].split() == ["ID", "STATE"]
    assert lines[2] == "a" * 120 + "  [red]"
    assert lines[3] == "b" + " " * 121 + "ok"


def test_times_are_utc():
    """Epoch nanoseconds become ISO 8601 for machines and a time of day for people."""
    assert time(0) is None
    assert time(1_700_000_000_123_000_000) == "2023-11-14T22:13:20.123+00:00"
    assert clock(1_700_000_000_123_000_000) == "22:13:20.123"
    assert clock(0) == "-"
