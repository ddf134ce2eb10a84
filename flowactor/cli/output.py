"""What commands print: JSON for machines, tables for terminals, aligned text elsewhere."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flowactor.errors import FlowactorError

__all__ = ["Output"]

Row = Sequence[object]


@frozen
class Output:
    """``as_json`` prints one JSON object (or one line per event) and nothing else on stdout."""

    as_json: bool
    console: Console = field(factory=lambda: Console(highlight=False, soft_wrap=True))

    def document(self, value: Mapping[str, Any]) -> None:
        """One JSON object, over several lines if a person looks at it."""
        indent = 2 if self.console.is_terminal else None
        print_line(json.dumps(value, indent=indent, ensure_ascii=False))

    def text(self, line: str) -> None:
        """One line of plain text."""
        print_line(line)

    def json_line(self, value: Mapping[str, Any]) -> None:
        """One JSON object on one line."""
        print_line(json.dumps(value, ensure_ascii=False))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """A table: drawn on a terminal, otherwise columns apart by two blanks."""
        cells = [[str(cell) for cell in row] for row in rows]
        if self.console.is_terminal:
            self._draw(title, columns, cells)
            return
        widths = [
            max(len(row[index]) for row in [list(columns), *cells]) for index in range(len(columns))
        ]
        if title:
            print_line(title)
        for row in [[column.upper() for column in columns], *cells]:
            print_line("  ".join(map(str.ljust, row, widths)).rstrip())

    def _draw(self, title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        table = Table(*columns, title=title or None, title_justify="left")
        for row in cells:
            table.add_row(*map(escape, row))
        self.console.print(table)

    def complain(self, text: str) -> None:
        """Plain text on stderr."""
        print_line(text, to_stderr=True)

    def error(self, error: FlowactorError) -> None:
        """One line on stderr, which says what the caller can do."""
        code = type(error).__name__
        if self.as_json:
            described = {
                "error": code,
                "message": str(error),
                "retry_is_safe": error.retry_is_safe,
                "outcome_unknown": error.outcome_unknown,
            }
            line = json.dumps(described, ensure_ascii=False)
        else:
            line = f"error: {code}: {' '.join(str(error).split())}"
            if error.outcome_unknown:
                line += " (outcome unknown: it may have happened)"
        print_line(line, to_stderr=True)


def print_line(line: str, *, to_stderr: bool = False) -> None:
    """One line, at once: a reader at the other end of a pipe is not kept waiting.

    What cannot be told to stderr, as its reader went away or its disk is full, is lost: the work it
    is about, and the exit code, matter more.

    Raises:
        OSError: stdout cannot be written to.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        stream.write(line + "\n")
        stream.flush()
    except OSError:
        if not to_stderr:
            raise
