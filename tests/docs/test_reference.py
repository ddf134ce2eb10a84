"""The reference tells the truth: its JSON has the shapes that commands print, its words exist."""

import json
import re
from pathlib import Path

import attrs
import click
import pytest
import trio

import flowactor as fa
from flowactor import errors
from flowactor.cli import cluster_views, main, node_command, views
from flowactor.cli.demo import Summary
from flowactor.cli.output import Output
from flowactor.observability import events
from flowactor.workflow import encode_failure

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "cli.md").read_text()
JSON = re.compile(r"^```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@fa.step(retry=fa.RetryPolicy(initial_interval=60))
async def fail() -> str:
    raise ValueError("a negative amount")


@fa.workflow(version=1)
class ProcessOrder:
    async def run(self, amount: int) -> str:
        await fa.variable("status", "processing")
        if amount < 0:
            raise ValueError("a negative amount")
        if amount:
            with fa.move_on_after(3600):
                await fail()
        return "paid"


def shape(value: object) -> object:
    """Names and nesting, without the values. Null stands for anything that is not there now."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return None


def fits(documented: object, printed: object) -> bool:
    """The two shapes agree wherever both have something to show."""
    if not documented or not printed:
        return True
    if isinstance(documented, dict) and isinstance(printed, dict):
        free = documented.keys() <= {"status", "2", "3"}  # names of variables, numbers of nodes
        return free or (
            documented.keys() == printed.keys()
            and all(fits(documented[key], printed[key]) for key in documented)
        )
    if isinstance(documented, list) and isinstance(printed, list):
        return fits(documented[0], printed[0])
    return type(documented) is type(printed)


async def printed(data: Path) -> dict[str, object]:
    """What the views make of real answers, by what the reference shows it for."""
    config = fa.NodeConfig(listen="127.0.0.1:0", data=data, bootstrap=True)
    async with fa.Node(fa.App([ProcessOrder]), config) as node:
        client = node.client
        started = await client.start_json("ProcessOrder", "1", id="order-1")
        handle = client.get_handle("order-1")
        async for event in handle.events():
            if event.kind == "attempt_failed":
                break
        view = await handle.describe()
        failing = client.get_handle((await client.start_json("ProcessOrder", "-1")).workflow_id)
        ended = await failing.wait(30)
        page = await client.list()
        run = views.run_in_full(view)
        return {
            "start": views.started(started),
            "result": views.ended("order-1", ended) | {"failure": None},
            "failure": views.ended("order-1", ended)["failure"],
            "list": {"total": page.total, "runs": [views.run(each) for each in page.runs]},
            "show": run | {"history": [views.event(event) for event in await handle.history(5)]},
            "events": views.event(event),
            "status": cluster_views.cluster(await client.status()),
        }


def test_json_of_the_reference_has_the_shapes_of_the_commands(tmp_path, capsys):
    """Every JSON block of ``docs/cli.md`` names exactly the fields that its command prints."""
    error, ready, *documented = [json.loads(block) for block in JSON.findall(CLI)]
    Output(True).error(errors.NotFound("there is no run nope"))
    assert json.loads(capsys.readouterr().err) == error
    assert ready.keys() == {"event", "node", "cluster", "address", "data", "pid"}
    shown = trio.run(printed, tmp_path)
    assert len(documented) == len(shown)
    for block, (command, document) in zip(documented, shown.items(), strict=True):
        assert fits(shape(block), shape(document)), command
    assert shown["show"]["steps"]
    assert shown["show"]["timers"]


def test_the_shapes_can_differ():
    """The comparison notices a field too many or too few, at any depth, but not another value."""
    assert fits(shape({"a": [{"b": 1}]}), shape({"a": [{"b": "x"}]}))
    assert not fits(shape({"a": [{"b": 1}]}), shape({"a": [{"c": 1}]}))
    assert not fits(shape({"a": {"b": 1}}), shape({"a": {"b": 1, "c": 1}}))


def test_summary_of_the_demo_is_documented():
    """Each field of the demo's summary is named in the reference."""
    section = CLI.partition("## `demo`")[2].partition("## `node`")[0]
    missing = [field.name for field in attrs.fields(Summary) if f"`{field.name}`" not in section]
    assert missing == []


def test_events_of_a_node_are_documented_with_their_level():
    """The table of log events has every event, each in a row of its level."""
    for event in events.ObservedEvent.__args__:
        level = node_command.EVENT_LEVELS.get(event, "info")
        row = re.search(rf"^\|.*`{event.__name__}`.*\|(.*)\|.*\|$", CLI, re.MULTILINE)
        assert row, event.__name__
        assert level in row[1], event.__name__


def test_kinds_of_events_are_documented():
    """The table of a run's events has every kind that a history can show."""
    source = (DOCS.parent / "flowactor/cluster/runs/views.py").read_text()
    kinds = set(re.findall(r'(?:return|yield) "(\w+)"', source))
    assert len(kinds) > 15
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in CLI] == []


@pytest.mark.parametrize("page", ["operations.md", "cli.md", "scope.md", "tutorial.md"])
def test_commands_and_options_exist(page):
    """Every ``python -m flowactor COMMAND --option`` of the page is one that click accepts."""
    commands = re.compile(r"python -m flowactor (.+?)(?:`|$)", re.MULTILINE)
    for line in commands.findall((DOCS / page).read_text()):
        name, *words = line.split()
        if name.startswith(("-", "COMMAND")):
            continue
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            command = command.commands[words[0]]
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_errors_named_in_operations_exist():
    """What the tables of ``docs/operations.md`` name as errors are classes of ``errors.py``."""
    text = (DOCS / "operations.md").read_text()
    named = set(re.findall(r"`((?:Storage|Unknown|Already|Deadline|Configuration)\w+)`", text))
    named.discard("StorageFailed")  # an event
    assert len(named) > 5
    assert [name for name in sorted(named) if not hasattr(errors, name)] == []


def test_a_group_of_errors_is_shown_with_what_it_holds():
    """A run that failed in a nursery is no riddle: each branch's error stands in the text."""
    group = ExceptionGroup("errors in a nursery", [ValueError("no tea"), KeyError("milk")])
    outer = ExceptionGroup("outer", [group])
    view = views.Ended("run", fa.RunStatus.FAILED, b"", encode_failure(outer), "")
    assert views.ended_text("order-1", view).splitlines() == [
        "order-1 failed",
        "  ExceptionGroup: outer",
        "    1: ExceptionGroup: errors in a nursery",
        "       1: ValueError: no tea",
        "       2: KeyError: 'milk'",
    ]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("shop.py:app", "not of its file: shop:ATTR"),
        ("src/shop.py:app", "not of its file: src.shop:ATTR"),
        ("shop:ap", "shop has no 'ap'; it has the App app"),
        ("shop:trio", "not a flowactor App"),
    ],
)
def test_a_misspelt_app_is_told_what_to_write(path, hint, tmp_path, monkeypatch):
    """Whoever misspells ``--app`` reads what would have been right."""
    lines = ["import trio", "import flowactor as fa", "app = fa.App([])"]
    (tmp_path / "shop.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    with pytest.raises(errors.ConfigurationError, match=re.escape(hint)):
        node_command.load_app(path)
