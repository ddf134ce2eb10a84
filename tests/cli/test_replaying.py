"""``export`` against a real node, and ``replay`` without one."""

import json
import os
import re
from pathlib import Path

import pytest

from flowactor.cli.exits import Exit
from flowactor.client.exports import HISTORY_SUFFIX, read_histories
from flowactor.testing.replay import Verdict
from tests.testing.recorded import Waiting, exported
from tests.workflow.driver import Driver

ORDER = '{"item": "tea", "amount": 5}'
UNCHANGED = "tests.testing.recorded:UNCHANGED"
BROKEN = "tests.testing.recorded:BROKEN"


@pytest.fixture
def folder(tmp_path):
    """A history that the broken app still fits, and one that it does not."""
    signalled, cancelled = Driver(Waiting, "end"), Driver(Waiting, "end", run_id="run-2")
    signalled.signal(Waiting.say, "end")
    signalled.fire()
    cancelled.cancel()
    for name, driver in (("signalled", signalled), ("cancelled", cancelled)):
        (tmp_path / f"{name}{HISTORY_SUFFIX}").write_bytes(exported(driver).to_bytes())
    return tmp_path


@pytest.fixture
def replay(command, fixed_hash_seed):
    return lambda *arguments: command("replay", *map(str, arguments))


# -- replay -------------------------------------------------------------------------------------


def test_agreement_is_code_0(replay, folder):
    """A row for each history, and a summary."""
    result = replay(folder, "--app", UNCHANGED)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ID       TYPE        STATUS     ACTIVATIONS  REPLAY",
        "order-1  Waiting v1  open       2            ok",
        "order-1  Waiting v1  completed  3            ok",
        "",
        "2 of 2 histories agree with the code",
    ]


def test_f6_a_mismatch_is_code_1_and_shows_both_sides(replay, folder):
    """F6: what agrees and what does not stands in one table, then both sides with their lines."""
    result = replay(*folder.iterdir(), "--app", BROKEN)
    assert result.exit_code == 1
    assert re.search(r"completed +3 +ok\n", result.stdout)
    assert re.search(r"open +2 +mismatch\n", result.stdout)
    assert "recorded: step refund with arguments [0] at tests.testing.rec" in result.stdout
    assert "this code: end cancelled (enough) at tests.testing.rec" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 of 2 histories agree with the code; 1 mismatch"


def test_json_of_replay_is_documented(replay, folder):
    """One object with a result for each history, whose fields the reference names."""
    (folder / "notes").write_text("no history")
    result = replay(folder, folder / "notes", "--app", BROKEN, "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert (shown["agrees"], shown["histories"], shown["failed"]) == (False, 3, 2)
    cancelled, signalled, notes = shown["results"]
    assert (cancelled["replay"], cancelled["position"]) == ("mismatch", 1)
    assert cancelled["recorded"].startswith("step refund")
    assert cancelled["produced"].startswith("end cancelled")
    assert (signalled["replay"], signalled["id"], signalled["version"]) == ("ok", "order-1", 1)
    assert (notes["replay"], notes["id"]) == ("unreadable", None)
    reference = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    section = reference.partition("## `replay")[2].partition("\n## ")[0]
    words = [*shown, *notes, *(f"| `{verdict.value}` |".strip("| `") for verdict in Verdict)]
    assert [word for word in words if f"`{word}`" not in section] == []


def test_each_path_that_holds_no_history_is_named(replay, folder, tmp_path_factory):
    """A file of another kind, an empty folder: told in their row, beside what could be read."""
    empty = tmp_path_factory.mktemp("empty")
    result = replay(folder, __file__, empty, "--app", UNCHANGED)
    assert result.exit_code == 1
    assert f"{__file__}: unreadable: this is no exported history" in result.stdout
    assert f"{empty}: unreadable: no file in this folder" in result.stdout
    assert "2 of 4 histories agree" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--app", UNCHANGED), Exit.USAGE, "FILE..."),
        (("nowhere.history.jsonl", "--app", UNCHANGED), Exit.USAGE, "does not exist"),
        ((".",), Exit.USAGE, "--app"),
        ((".", "--app", "no_such_module_here:app"), Exit.REFUSED, "no module"),
    ],
)
def test_replay_refuses_what_cannot_be_done(replay, arguments, code, text):
    """A path that is not there and an app that cannot be loaded end it before anything is read."""
    result = replay(*arguments)
    assert result.exit_code == code
    assert text in result.stderr


def test_a_file_that_may_not_be_read_is_one_line(replay, folder, monkeypatch):
    """What the system says of a file that cannot be opened is told as an error of ours."""

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    result = replay(folder, "--app", UNCHANGED)
    assert result.exit_code == Exit.REFUSED
    assert re.search(r"error: ConfigurationError: .*jsonl cannot be read: Perm", result.stderr)


def test_replay_has_the_hash_seed_of_nodes(command, folder, monkeypatch):
    """It starts itself again with the hash seed that nodes have, else sets could mislead it."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    calls = []

    def replace_process(*call: object) -> None:
        calls.append(call)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", replace_process)
    command("replay", str(folder), "--app", UNCHANGED)
    assert calls[0][2]["PYTHONHASHSEED"] == "0"


# -- export -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "ID, or all of them with --all"),
        (("order-1", "--all"), "ID, or all of them with --all"),
        (("order-1", "--status", "running"), "--status and --type choose among --all"),
        (("order-1", "--type", "Order"), "--status and --type choose among --all"),
        (("order-1", "order-2", "--run", "r"), "--run RUN_ID is for one ID"),
        (("--all", "--run", "r"), "--run RUN_ID is for one ID"),
        (("--all", "-o", "file", "--folder", "folder"), "-o, or one for each with --folder"),
    ],
)
def test_options_of_export_that_do_not_go_together(command, arguments, text):
    """They are usage errors, told before any node is asked."""
    result = command("export", *arguments)
    assert result.exit_code == Exit.USAGE
    assert text in result.stderr


@pytest.fixture(scope="module")
def node(start_node):
    return start_node("--bootstrap", "--data", "exported")


@pytest.fixture
def run(node, make_commands):
    """Commands against a node with three runs, one of which waits."""
    commands = make_commands(node.address)
    for name, waits in (("a/1", "false"), ("b", "false"), ("open", "true")):
        commands.json("start", "ProcessOrder", f"[{ORDER}, {waits}]", "--id", name)
    for name in ("a/1", "b"):
        commands.json("result", name)
    return commands


@pytest.mark.processes
def test_export_and_replay(run, node, app_folder, tmp_path, monkeypatch, fixed_hash_seed):
    """What a node exports replays with the app it runs; both forms hold the same."""
    folder, file = tmp_path / "new/folder", tmp_path / "all"
    assert run("export", "--all", "--folder", str(folder)).stdout == f"3 histories in {folder}\n"
    written = run.json("export", "--all", "-o", str(file))
    assert written == {"histories": 3, "files": [str(file)]}
    assert len(list(folder.iterdir())) == 3
    assert sorted(path.read_bytes() for path in folder.iterdir()) == sorted(
        history.to_bytes() for history in read_histories(file.read_bytes().splitlines())
    )
    monkeypatch.chdir(app_folder)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    replayed = run("replay", str(folder), str(file), "--app", "cli_app:app")
    assert replayed.exit_code == 0, replayed.output
    assert replayed.stdout.endswith("6 of 6 histories agree with the code\n")


@pytest.mark.processes
def test_export_to_stdout(run):
    """Without a file the histories themselves are on stdout, in the order they were named."""
    result = run("export", "b", "a/1")
    found = list(read_histories(result.stdout_bytes.splitlines()))
    assert [history.info.workflow_id for history in found] == ["b", "a/1"]
    run_id = found[0].run_id
    assert run("export", "b", "--run", run_id, "--json").stdout_bytes == found[0].to_bytes()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--status", "running"), {"open"}),
        (("--status", "completed"), {"a/1", "b"}),
        (("--status", "failed"), set()),
        (("--type", "ProcessOrder"), {"a/1", "b", "open"}),
        (("--type", "Another"), set()),
    ],
)
def test_export_chooses_among_all(run, options, ids):
    """Status and type narrow, as they do for a list."""
    result = run("export", "--all", *options)
    found = read_histories(result.stdout_bytes.splitlines())
    assert {history.info.workflow_id for history in found} == ids


@pytest.mark.processes
def test_all_runs_are_more_than_a_page(run, monkeypatch):
    """However few runs a page has, each is exported once."""
    monkeypatch.setattr("flowactor.cli.export_command.PAGE_ITEMS_MAX", 1)
    found = list(read_histories(run("export", "--all").stdout_bytes.splitlines()))
    assert sorted(history.info.workflow_id for history in found) == ["a/1", "b", "open"]


@pytest.mark.processes
def test_export_refuses_what_cannot_be_done(run, tmp_path):
    """No such run, or no such place: one line, code 4, and an earlier file stays as it was."""
    earlier = tmp_path / "earlier"
    earlier.write_text("as it was")
    assert run.json("export", "b", "nobody", "-o", str(earlier), code=4)["error"] == "NotFound"
    assert earlier.read_text() == "as it was"
    refused = run.json("export", "b", "-o", str(earlier / "below"), code=4)
    assert "below cannot be written: " in refused["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
