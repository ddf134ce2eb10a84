"""Replaying exported histories against the code as it is now, before it is deployed.

A change of a workflow's code is safe for the runs that are open if every history of it still
replays: the code asks, activation by activation, for what it asked for then. ``docs/replay.md``
shows how histories are exported and where to keep them.
"""

import enum
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from attrs import evolve, frozen

from flowactor.client.exports import HISTORY_SUFFIX, ExportedHistory, read_histories
from flowactor.cluster.runs.outside import outside_trio
from flowactor.errors import DeterminismViolation, MalformedDataError
from flowactor.machine.commands import Command, FailRun
from flowactor.workflow import (
    App,
    Departure,
    Interpreter,
    Mismatch,
    RunInfo,
    decode_failure,
    follow,
)

__all__ = [
    "Replayed",
    "Report",
    "Source",
    "Verdict",
    "assert_replays",
    "replay_histories",
]

Source = ExportedHistory | str | PathLike[str]
"""A history, or a file with any number of them, or a folder with such files at any depth."""

_HASH_SEED_HINT = (
    "Nodes run with PYTHONHASHSEED=0 and this process does not: code that iterates over a set may "
    "only disagree because of that."
)


class Verdict(enum.Enum):
    """What came of one history."""

    OK = "ok"
    MISMATCH = "mismatch"
    """The code asks for something else than was recorded."""
    ESCAPE = "escape"
    """The code calls a clock, chance or a file of its process."""
    UNREGISTERED = "unregistered"
    """The app has no such type, or not in this version."""
    UNREADABLE = "unreadable"
    """This is no whole history, or none that this flowactor knows."""


@frozen
class Replayed:
    """What came of one history.

    Attributes:
        source: the file it was read from; empty if it was given as it is.
        verdict: whether it agrees with the code, or why it could not be told.
        info: which run; None if it could not be read.
        status: how the run had ended when it was exported, or ``open``.
        activations: how many were recorded.
        position: the activation in which the code departs from the history, counted from 0.
        mismatch: what the two sides are, if they are two.
        problem: what is wrong, on one line or, with both sides, on three.
    """

    source: str
    verdict: Verdict
    info: RunInfo | None = None
    status: str = ""
    activations: int = 0
    position: int | None = None
    mismatch: Mismatch | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """What people know it by: the workflow id, or else the file."""
        return self.info.workflow_id if self.info else self.source

    def __str__(self) -> str:
        if self.info is None:
            return f"{self.source}: {self.verdict.value}: {self.problem}"
        origin = f", {self.source}" if self.source else ""
        who = f"{self.info.workflow_id} ({self.info.workflow_type} v{self.info.version}{origin})"
        return f"{who}: {self.verdict.value}: {self.problem}" if self.problem else f"{who}: ok"


@frozen
class Report:
    """What came of all histories, in the order they were given. ``str()`` tells all that is
    wrong.
    """

    results: tuple[Replayed, ...]

    @property
    def failed(self) -> tuple[Replayed, ...]:
        """Those that do not agree with the code, or could not be compared."""
        return tuple(result for result in self.results if result.verdict is not Verdict.OK)

    @property
    def agrees(self) -> bool:
        """Whether all histories agree with the code, and there is at least one."""
        return bool(self.results) and not self.failed

    @property
    def summary(self) -> str:
        """One line."""
        counts = Counter(result.verdict.value for result in self.failed)
        wrong = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        good = len(self.results) - len(self.failed)
        return f"{good} of {len(self.results)} histories agree with the code" + (
            f"; {wrong}" if wrong else ""
        )

    @property
    def hint(self) -> str:
        """What may explain mismatches that are none of the code's, or nothing."""
        is_random = any(result.verdict is Verdict.MISMATCH for result in self.results) and bool(
            sys.flags.hash_randomization
        )
        return _HASH_SEED_HINT if is_random else ""

    def check(self) -> None:
        """Raises:
        DeterminismViolation: not all histories agree with the code, or there is none; shows
            each that does not, with both sides.
        """
        if not self.agrees:
            raise DeterminismViolation(str(self))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.failed), *filter(None, (self.hint,)), self.summary])


def replay_histories(app: App, histories: Iterable[Source], *, strict: bool = True) -> Report:
    """Replay each history against the code of its type and version; none hides another.

    Nothing happens outside: steps are not executed, log lines do not go out.

    Args:
        app: the code.
        histories: as they were exported, or files and folders of them.
        strict: also refuse calls of the code to clocks, chance and files of this process, which
            differ from node to node; reported with file and line.

    Raises:
        OSError: a file or folder is not there, or cannot be read.
    """
    return Report(tuple(_replayed(app, histories, strict=strict)))


def assert_replays(app: App, *histories: Source, strict: bool = True) -> None:
    """For a test: all histories agree with the code, and there is at least one.

    Args:
        app: the code.
        *histories: as they were exported, or files and folders of them.
        strict: as ``replay_histories`` takes it.

    Raises:
        AssertionError: shows each history that does not, with both sides.
        OSError: a file or folder is not there, or cannot be read.
    """
    __tracebackhide__ = True
    report = replay_histories(app, histories, strict=strict)
    if not report.agrees:
        raise AssertionError(str(report))


def _replayed(app: App, histories: Iterable[Source], *, strict: bool) -> Iterator[Replayed]:
    for given in histories:
        if isinstance(given, ExportedHistory):
            yield _replay(app, "", given, strict=strict)
            continue
        for source, history in _read(Path(given)):
            if isinstance(history, ExportedHistory):
                yield _replay(app, source, history, strict=strict)
            else:
                yield Replayed(source, Verdict.UNREADABLE, problem=str(history))


def _read(path: Path) -> Iterator[tuple[str, ExportedHistory | MalformedDataError]]:
    """What a file or folder holds, with the file each comes from; never nothing: that would pass
    for agreement.
    """
    files = sorted(path.rglob(f"*{HISTORY_SUFFIX}")) if path.is_dir() else [path]
    if not files:
        yield str(path), MalformedDataError(f"no file in this folder ends in {HISTORY_SUFFIX}")
    for file in files:
        is_empty = True
        with file.open("rb") as lines:
            for history in read_histories(lines):
                is_empty = False
                yield str(file), history
        if is_empty:
            yield str(file), MalformedDataError("this file holds no history")


def _replay(app: App, source: str, history: ExportedHistory, *, strict: bool) -> Replayed:
    info = history.info
    result = Replayed(source, Verdict.OK, info, history.status)
    try:
        past = history.activations()
    except MalformedDataError as error:
        return evolve(result, verdict=Verdict.UNREADABLE, problem=str(error))
    result = evolve(result, activations=len(past))
    definition = app.find(info.workflow_type, info.version)
    if definition is None:
        listed = ", ".join(f"{name} v{version}" for name, version in app.registered) or "nothing"
        problem = f"not in this app; it has: {listed}"
        return evolve(result, verdict=Verdict.UNREGISTERED, problem=problem)
    interpreter = Interpreter(definition, info, outside_trio, strict=strict)
    departure = follow(interpreter, past)
    interpreter.close()
    if departure is None:
        return result
    verdict, problem = _judge(departure)
    return evolve(
        result,
        verdict=verdict,
        position=departure.position,
        mismatch=departure.mismatch,
        problem=problem,
    )


def _judge(departure: Departure) -> tuple[Verdict, str]:
    where = f"activation {departure.position}"
    escape = _escape(departure.mismatch.produced)
    if escape is not None:
        return Verdict.ESCAPE, f"{where}: {escape}"
    mismatch = departure.mismatch
    return Verdict.MISMATCH, f"{where}, command {mismatch.index + 1}:\n{mismatch.sides}"


def _escape(command: Command | None) -> DeterminismViolation | None:
    """What a strict interpreter raised into the code, if that is what ended the run."""
    return _violation(decode_failure(command.failure)) if isinstance(command, FailRun) else None


def _violation(error: BaseException | None) -> DeterminismViolation | None:
    if error is None or isinstance(error, DeterminismViolation):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next(filter(None, map(_violation, (*inner, error.__cause__))), None)
