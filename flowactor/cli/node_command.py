"""``node``: run one node of a cluster until it is told to stop."""

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs
import click
import trio

from flowactor.cli.exits import Exit, exit_of
from flowactor.cli.options import ADDRESSES_METAVAR, check_addresses, json_option, run_to_exit
from flowactor.cli.output import Output, print_line
from flowactor.cli.views import time
from flowactor.client.connect import parse_addresses
from flowactor.cluster.system import SystemClock
from flowactor.errors import ConfigurationError, FlowactorError, Refused
from flowactor.management import NodeState
from flowactor.node import Node, NodeConfig
from flowactor.observability.events import (
    ActorFailed,
    ConnectionRefused,
    ForeignCluster,
    JoinIgnored,
    LinkDown,
    ObservedEvent,
    RequestFailed,
    RunDiverged,
    RunEnded,
    RunParked,
    SnapshotFailed,
    SnapshotReceived,
    StepFinished,
    StepStarted,
    StorageFailed,
    describe,
)
from flowactor.ports import Clock
from flowactor.workflow import App

__all__ = ["HASH_SEED", "fix_hash_seed", "load_app", "load_attribute", "node"]

HASH_SEED: Final = "0"
"""One for the whole cluster: standbys compare what user code asked for, and innocent iteration over
a set of texts must not differ between nodes (``design.md``, D8).
"""
GARBAGE_THRESHOLDS: Final = (50_000, 50, 50)
"""Objects, and collections of the younger generations, between two collections."""

addresses_option = partial(click.option, callback=check_addresses, metavar=ADDRESSES_METAVAR)


@click.command()
@click.option("--listen", required=True, metavar="HOST:PORT", help="Address for peers and clients.")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of this node; made if it is not there.",
)
@click.option(
    "--app", "app_path", required=True, metavar="MODULE:ATTR", help="The workflows it runs."
)
@click.option(
    "--bootstrap", is_flag=True, help="Found a new cluster: of --peers, or of this node alone."
)
@addresses_option("--join", help="Nodes of a cluster to join as a new node; one is enough.")
@addresses_option(
    "--peers",
    help="All that found a new cluster, the same list on each; it serves once all have been up.",
)
@click.option("--advertise", metavar="HOST:PORT", help="Where others reach it, if not at --listen.")
@click.option(
    "--leave", is_flag=True, help="When told to stop, leave the cluster for good, then stop."
)
@click.option("--insecure", is_flag=True, help="Listen on more than loopback, without encryption.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to tell on stderr.",
)
@json_option
def node(
    listen: str,
    data: Path,
    app_path: str,
    bootstrap: bool,
    join: str | None,
    peers: str | None,
    advertise: str | None,
    leave: bool,
    insecure: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Run a node until Ctrl-C or SIGTERM.

    A new data directory needs --bootstrap, --peers or --join; later starts need none of them.
    """
    if join and (bootstrap or peers):
        raise click.UsageError(
            "--join is for a cluster that exists: not with --bootstrap or --peers"
        )
    fix_hash_seed(os.environ, os.execve)
    output = Output(as_json)

    async def body() -> Exit:
        refuse_optimized(sys.flags.optimize)
        config = NodeConfig(
            listen=listen,
            data=data,
            bootstrap=bootstrap,
            join=parse_addresses(join) if join else (),
            peers=parse_addresses(peers) if peers else (),
            advertise=advertise,
            insecure=insecure,
            on_event=partial(log_event, SystemClock(), LEVELS[log_level], as_json),
        )
        return await serve(load_app(app_path), config, output, leave=leave)

    run_to_exit(body, output)


async def serve(app: App, config: NodeConfig, output: Output, *, leave: bool = False) -> Exit:
    """Run the node until a signal says stop; that is a clean end, even before the node serves. With
    ``leave`` the first signal takes it out of the cluster, which is a clean end as well, whoever
    asked for it.
    """
    serving, stop = trio.Event(), trio.Event()
    node, trouble = Node(app, config), None
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(heed, signals, serving, stop, nursery.cancel_scope)
                async with node as running:
                    settle_garbage_collector()
                    serving.set()
                    with suppress(BrokenPipeError):  # with nobody to tell it serves all the same
                        announce(running, config, output)
                    await stop.wait()
                    if leave:
                        trouble = await leave_cluster(running, output)
                nursery.cancel_scope.cancel()
    except* Refused:
        if not (serving.is_set() and has_left(node)):
            raise
        output.complain(f"node {node.node_id} has left the cluster for good")
    if trouble is None:
        return Exit.OK
    output.error(trouble)
    return exit_of(trouble)


async def leave_cluster(running: Node, output: Output) -> FlowactorError:
    """Have the node taken out, which ends it from within, as soon as others have all that it has.

    Returns:
        Why it stays a member: it is the last one, or nobody decided in time.
    """
    output.complain(f"node {running.node_id} leaves the cluster; another signal ends it at once")
    try:
        await running.client.cluster.remove(running.node_id)
    except FlowactorError as error:
        return error
    await trio.sleep_forever()
    raise AssertionError("sleeping for ever has no end")


def has_left(node: Node) -> bool:
    """Whether the node was asked to leave and has; not, if others gave it up."""
    return node.gone is NodeState.LEFT


async def heed(
    signals: AsyncIterator[int], serving: trio.Event, stop: trio.Event, everything: trio.CancelScope
) -> None:
    """The first signal lets a serving node end in order; any other cancels whatever goes on."""
    async for _ in signals:
        if stop.is_set() or not serving.is_set():
            everything.cancel()
        stop.set()


def announce(running: Node, config: NodeConfig, output: Output) -> None:
    """Say on stdout that the node serves, and where: with port 0 nobody else knows."""
    where = str(config.data)
    if output.as_json:
        ready = {
            "event": "ready",
            "node": running.node_id,
            "cluster": running.cluster_id,
            "address": running.address,
            "data": where,
            "pid": os.getpid(),
        }
        output.json_line(ready)
    else:
        output.text(
            f"node {running.node_id} of cluster {running.cluster_id} "
            f"listening on {running.address}, data in {where}"
        )


def settle_garbage_collector() -> None:
    """What a started node holds stays: looking through it again and again is what makes the slowest
    answers slow (p99 a third with this, measured). The process is the node's own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def fix_hash_seed(
    environment: Mapping[str, str],
    replace_process: Callable[[str, list[str], dict[str, str]], object],
) -> None:
    """Start this very command line again, with a fixed hash seed, unless it has one."""
    if environment.get("PYTHONHASHSEED", "random") == "random":
        fixed = {**environment, "PYTHONHASHSEED": HASH_SEED}
        replace_process(sys.executable, [sys.executable, *sys.orig_argv[1:]], fixed)


def refuse_optimized(level: int) -> None:
    """A node stops at a broken invariant, and ``-O`` takes the checks away."""
    if level:
        raise ConfigurationError("a node does not run under python -O: its assertions must stay on")


def load_app(path: str, option: str = "--app") -> App:
    """The ``App`` that ``MODULE:ATTR`` names; modules of the current directory are found too.

    Args:
        path: where it is.
        option: what the path was given as, for errors.

    Raises:
        ConfigurationError: in one line, what is wrong with it and where.
    """
    found = load_attribute(path, option, _apps_of)
    if not isinstance(found, App):
        kind = type(found).__name__
        attribute = path.partition(":")[2]
        raise ConfigurationError(
            f"{option} {path!r}: {attribute} is of type {kind}, not a flowactor App"
        )
    return found


def load_attribute(path: str, option: str, hint: Callable[[ModuleType], str] = lambda _: "") -> Any:
    """What ``MODULE:ATTR`` names. Raises as ``load_app``; ``hint`` tells what the module has."""
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(f"{option} {path!r}: write MODULE:ATTR, as in orders:app")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigurationError(
            f"{option} {path!r}: {_import_trouble(module_name, error)}"
        ) from error
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(
                f"{option} {path!r}: {module_name} has no {attribute!r}{hint(module)}"
            )
        found = getattr(found, name)
    return found


def _apps_of(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, App)]
    return f"; it has the App {', '.join(names)}" if names else "; it has no App"


def _import_trouble(module_name: str, error: Exception) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("/", ".")
        return f"write the name of the module, not of its file: {dotted}:ATTR"
    if missing and (module_name + ".").startswith(missing + "."):
        return f"no module {missing!r} in {Path.cwd()} or on the Python path"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"importing it failed at {last.filename}:{last.lineno}: {type(error).__name__}: {error}"


LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
EVENT_LEVELS: Final[dict[type[ObservedEvent], str]] = {
    StepStarted: "debug",
    StepFinished: "debug",
    RunEnded: "debug",
    SnapshotReceived: "debug",
    LinkDown: "warning",
    ConnectionRefused: "warning",
    JoinIgnored: "warning",
    RunDiverged: "warning",
    RunParked: "warning",
    SnapshotFailed: "warning",
    ForeignCluster: "error",
    ActorFailed: "error",
    RequestFailed: "error",
    StorageFailed: "error",
}
"""All others are ``info``."""


def log_event(clock: Clock, threshold: int, as_json: bool, event: ObservedEvent) -> None:
    """One line on stderr for an event of at least this level."""
    level = EVENT_LEVELS.get(type(event), "info")
    if LEVELS[level] < threshold:
        return
    now = time(clock.now_ns())
    if as_json:
        fields = {"time": now, "level": level, "event": type(event).__name__} | attrs.asdict(event)
        print_line(json.dumps(fields, ensure_ascii=False), to_stderr=True)
    else:
        print_line(f"{now} {level:7} {describe(event)}", to_stderr=True)
