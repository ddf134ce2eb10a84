"""Stand-alone replicated variables: linearizable values with a version, beside the runs.

Memory holds the versions in recent use and the values that are not in the rows yet; everything else
is read through the rows. How much is held makes no difference to any outcome.
"""

from collections.abc import Iterator
from typing import Any

from flowactor.identity import slot_of
from flowactor.limits import VARIABLE_VERSIONS_CACHED_MAX
from flowactor.machine.operations import CompareAndSet, WriteVariable
from flowactor.machine.replies import Done, Rejected, Reply, Written
from flowactor.machine.state import Variable
from flowactor.ports import RowReader, RowWrite

__all__ = ["Variables"]

_NAMELESS = Rejected("InvalidInput", "a variable needs a name")


class Variables:
    def __init__(self, rows: RowReader) -> None:
        self._rows = rows
        self._versions: dict[str, int] = {}
        self._unsaved: dict[str, bytes | None] = {}
        self.changed: dict[str, int] = {}
        """Name to version (0: deleted) of what changed in the current log entry."""

    def read(self, name: str) -> Variable:
        if name in self._unsaved:
            return Variable(self._unsaved[name], self._versions[name])
        row = self._rows.get("variables", (slot_of(name), name))
        return Variable(None, 0) if row is None else Variable(*row)

    def write(self, operation: WriteVariable) -> Reply:
        name = operation.name
        value = operation.value
        version = self._versions.get(name)
        if version is None:
            version = self._version(name)
        if not name:
            return _NAMELESS
        if value is None:
            if version:
                self._set(name, None, 0)
            return Done(changed=version > 0)
        version += 1
        self._versions[name] = version
        self._unsaved[name] = value
        self.changed[name] = version
        return Written(version)

    def compare_and_set(self, operation: CompareAndSet) -> Reply:
        name = operation.name
        if not name:
            return _NAMELESS
        version = self._version(name)
        if version != operation.expected:
            return Rejected(
                "VersionMismatch",
                f"variable {name!r} is at version {version}, not {operation.expected}",
            )
        self._set(name, operation.value, version + 1)
        return Written(version + 1)

    def _version(self, name: str) -> int:
        version = self._versions.get(name)
        if version is None:
            row = self._rows.get("variables", (slot_of(name), name))
            version = self._versions[name] = 0 if row is None else row[1]
        return version

    def _set(self, name: str, value: bytes | None, version: int) -> None:
        self._versions[name] = version
        self._unsaved[name] = value
        self.changed[name] = version

    def take_writes(self) -> Iterator[RowWrite]:
        for name, value in self._unsaved.items():
            values = None if value is None else (value, self._versions[name])
            yield RowWrite("variables", (slot_of(name), name), values)
        self._unsaved.clear()
        if len(self._versions) > VARIABLE_VERSIONS_CACHED_MAX:
            self._versions.clear()

    def forget_versions(self) -> None:
        """Rows have come from elsewhere: what is held of rows may be older."""
        self._versions = {name: self._versions[name] for name in self._unsaved}

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the variables are; reads all of them."""
        all_rows = {name: held for _, name, *held in self._rows.scan("variables")}
        for name, value in self._unsaved.items():
            if value is None:
                all_rows.pop(name, None)
            else:
                all_rows[name] = [value, self._versions[name]]
        return sorted(all_rows.items())
