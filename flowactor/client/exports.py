"""The history of one run, taken out of its cluster, and its form as a file.

A file is lines of JSON, each history a block of them: a header, one line for each row of the
history, and a last line with a digest of all lines before it. Blocks may follow each other, so
files may be joined. A row is written as the array that its record is (``flowactor.codec.records``),
whose tags and fields are addresses for ever; bytes are ``{"base64": "..."}``
(``docs/decisions``, 0013).
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

from attrs import field, frozen

from flowactor.codec import records
from flowactor.errors import MalformedDataError
from flowactor.identity import RunId
from flowactor.machine.history import Closed, HistoryRecord, Opened
from flowactor.workflow import Activated, RunInfo, activations

__all__ = ["HISTORY_SUFFIX", "ExportedHistory", "read_histories"]

HISTORY_SUFFIX: Final = ".history.jsonl"
"""How the name of a file with exported histories ends."""
FORMAT_VERSION: Final = 1
_FORMAT: Final = "flowactor_history"
_HEADER_START: Final = f'{{"{_FORMAT}":'.encode()
_END: Final = "digest"
_BYTES: Final = "base64"
_NAME_CHARACTERS_MAX: Final = 100
"""Of a workflow id in the name of a file; what follows tells runs apart."""


@frozen
class ExportedHistory:
    """Everything that is needed to replay a run elsewhere.

    Attributes:
        run_id: which run.
        started_ns: when it started, in log time.
        rows: its history as far as it went, the oldest first.

    Raises:
        MalformedDataError: the rows do not begin with the start of a run.
    """

    run_id: RunId
    started_ns: int
    rows: tuple[HistoryRecord, ...] = field(repr=lambda rows: f"<{len(rows)} rows>")

    def __attrs_post_init__(self) -> None:
        if not self.rows or not isinstance(self.rows[0], Opened):
            raise MalformedDataError(f"the history of run {self.run_id} has no beginning")

    @property
    def info(self) -> RunInfo:
        """Which run this is the history of, as its code knows itself."""
        opened = self.rows[0]
        assert isinstance(opened, Opened), "checked when this was made"
        return RunInfo(
            opened.workflow_id, self.run_id, opened.workflow_type, opened.version, self.started_ns
        )

    @property
    def status(self) -> str:
        """How the run ended, in a word, or ``open``."""
        last = self.rows[-1]
        return last.status.value if isinstance(last, Closed) else "open"

    @property
    def file_name(self) -> str:
        """A name for a file of this history alone: the same for every export of this run."""
        shown = quote(self.info.workflow_id, safe=" ")[:_NAME_CHARACTERS_MAX]
        unique = blake2b(self.run_id.encode(), digest_size=6).hexdigest()
        return f"{shown}-{unique}{HISTORY_SUFFIX}"

    def activations(self) -> tuple[Activated, ...]:
        """What the run's code was told, and what it asked for then.

        Raises:
            MalformedDataError: rows are missing, or in another order.
        """
        return tuple(activations(self.rows))

    def lines(self) -> Iterator[bytes]:
        """The history as a file has it, line by line, each with its end."""
        info = self.info
        header = {
            _FORMAT: FORMAT_VERSION,
            "written_by": version("flowactor"),
            "workflow_id": info.workflow_id,
            "run_id": info.run_id,
            "workflow_type": info.workflow_type,
            "version": info.version,
            "started_ns": info.started_ns,
            "status": self.status,
            "rows": len(self.rows),
        }
        digest = blake2b(digest_size=16)
        for value in (header, *map(records.to_plain, self.rows)):
            line = _json(value)
            digest.update(line)
            yield line
        yield _json({_END: digest.hexdigest()})

    def to_bytes(self) -> bytes:
        """The history as a file has it."""
        return b"".join(self.lines())

    @classmethod
    def from_bytes(cls, data: bytes) -> "ExportedHistory":
        """The one history in ``data``.

        Raises:
            MalformedDataError: it is not exactly one whole history.
        """
        found = list(read_histories(data.splitlines()))
        if len(found) != 1:
            raise MalformedDataError(f"one history is due, {len(found)} are there")
        if isinstance(found[0], MalformedDataError):
            raise found[0]
        return found[0]


def read_histories(lines: Iterable[bytes]) -> Iterator[ExportedHistory | MalformedDataError]:
    """The histories in a file, in its order. What cannot be read is an error that says why, in its
    place, and hides none of those after it.
    """
    block: list[bytes] = []
    first = 1
    for number, line in enumerate(lines, 1):
        if line.startswith(_HEADER_START) and block:
            yield _read(first, block)
            block = []
        if not block:
            first = number
        if stripped := line.strip():
            block.append(stripped + b"\n")
    if block:
        yield _read(first, block)


def _read(first: int, block: Sequence[bytes]) -> ExportedHistory | MalformedDataError:
    try:
        return _history(block)
    except MalformedDataError as error:
        where = f"line {first}: " if first > 1 else ""
        return MalformedDataError(f"{where}{error}")


def _history(block: Sequence[bytes]) -> ExportedHistory:
    header, rows, end = _header(block[0]), block[1:-1], _value(block[-1])
    if not isinstance(end, dict) or _END not in end:
        raise MalformedDataError(
            f"{_name(header)} is cut short, or in disorder: {header.get('rows')} rows and an end "
            f"are due, and {len(block) - 1} lines follow the header"
        )
    digest = blake2b(digest_size=16)
    for line in block[:-1]:
        digest.update(line)
    if end[_END] != digest.hexdigest():
        raise MalformedDataError(f"{_name(header)} was changed since it was exported")
    run_id, started_ns = header.get("run_id"), header.get("started_ns")
    if not isinstance(run_id, str) or type(started_ns) is not int:
        raise MalformedDataError(f"{_name(header)} does not say which run it is of")
    return ExportedHistory(RunId(run_id), started_ns, tuple(map(_row, rows)))


def _header(line: bytes) -> dict[str, Any]:
    header = _value(line) if line.startswith(_HEADER_START) else None
    if not isinstance(header, dict):
        raise MalformedDataError("this is no exported history")
    if header[_FORMAT] != FORMAT_VERSION:
        raise MalformedDataError(
            f"{_name(header)} is of format {header[_FORMAT]!r:.20}, this flowactor reads format "
            f"{FORMAT_VERSION}: use flowactor {header.get('written_by')!s:.20}, which wrote it"
        )
    return header


def _name(header: dict[str, Any]) -> str:
    return f"the history of {header.get('workflow_id')!r:.200}"


def _json(value: object) -> bytes:
    text = json.dumps(value, default=_bytes_form, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _bytes_form(value: bytes) -> dict[str, str]:
    return {_BYTES: b64encode(value).decode()}


def _value(line: bytes) -> Any:
    """What a line of JSON says, or None."""
    try:
        return json.loads(line, object_hook=_bytes_of)
    except (ValueError, TypeError, RecursionError):
        return None


def _bytes_of(value: dict[str, Any]) -> Any:
    return b64decode(value[_BYTES], validate=True) if value.keys() == {_BYTES} else value


def _row(line: bytes) -> HistoryRecord:
    try:
        row = records.from_plain(_tuples(_value(line)))
    except RecursionError as error:
        raise MalformedDataError("a row is nested too deeply") from error
    if not isinstance(row, HistoryRecord):
        raise MalformedDataError(f"a {type(row).__name__} is no row of a history")
    return row


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if type(value) is list else value
