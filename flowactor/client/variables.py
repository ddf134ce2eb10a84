"""Replicated variables that belong to the cluster, not to a run."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Generic, TypeVar

from attrs import frozen

from flowactor.client.caller import Caller, expect
from flowactor.cluster.requests import ReadVariable, VariableView, WatchVariable
from flowactor.codec import payloads
from flowactor.errors import NotFound, VersionMismatch
from flowactor.machine.operations import CompareAndSet, WriteVariable
from flowactor.machine.replies import Done, Written

__all__ = ["ClusterVariable", "Versioned"]

T = TypeVar("T")

WATCH_SECONDS: Final = 10.0
"""How long a node holds one watch before it answers that nothing changed."""


@frozen
class Versioned(Generic[T]):
    """What a variable held at a version; ``value`` None with ``version`` 0: it does not exist."""

    value: T | None
    version: int


class ClusterVariable(Generic[T]):
    """A named, linearizable value; see ``Client.variable``."""

    def __init__(self, caller: Caller, name: str, value_type: type[T]) -> None:
        self.name = name
        self._caller = caller
        self._type: Any = value_type
        self._where = f"variable {name!r}"

    async def get(self) -> T:
        """The value now.

        Raises:
            NotFound: nobody has set it, or it was deleted.
        """
        held = await self.read()
        if held.version == 0:
            raise NotFound(f"no variable {self.name!r}")
        value: Any = held.value
        return value  # type: ignore[no-any-return]  # None is a value too, if T says so

    async def read(self) -> Versioned[T]:
        """The value now and its version, 0 if there is none."""
        answer = await self._caller.read(ReadVariable(self.name))
        return self._versioned(expect(answer, VariableView))

    async def set(self, value: T) -> int:
        """Replace the value, whatever it is. Returns the new version."""
        answer = await self._caller.change(WriteVariable(self.name, self._encode(value)))
        return expect(answer, Written).version

    async def compare_and_set(self, expected: int, value: T) -> bool:
        """Replace the value if its version is still ``expected`` (0: it does not exist yet)."""
        body = CompareAndSet(self.name, expected, self._encode(value))
        try:
            await self._caller.change(body)
        except VersionMismatch:
            return False
        return True

    async def update(self, function: Callable[[T | None], T]) -> T:
        """Replace the value by ``function`` of it (of None if there is none), with nobody in
        between; ``function`` is called again when somebody was. Returns the new value.
        """
        while True:
            held = await self.read()
            value = function(held.value)
            if await self.compare_and_set(held.version, value):
                return value

    async def delete(self) -> bool:
        """Remove the variable. Returns False if there was none."""
        return expect(await self._caller.change(WriteVariable(self.name, None)), Done).changed

    async def watch(self) -> AsyncGenerator[Versioned[T], None]:
        """The value now, then again after each change, for ever. Values that were replaced before
        they could be shown are skipped; the latest is always shown.
        """
        version = -1
        while True:
            body = WatchVariable(self.name, version, int(WATCH_SECONDS * 1000))
            answer = await self._caller.read(body, wait_seconds=WATCH_SECONDS)
            held = self._versioned(expect(answer, VariableView))
            if held.version != version:
                version = held.version
                yield held

    def _encode(self, value: T) -> bytes:
        return payloads.encode_payload(value, self._type, self._where)

    def _versioned(self, view: VariableView) -> Versioned[T]:
        if view.value is None:
            return Versioned(None, 0)
        return Versioned(payloads.decode_payload(view.value, self._type, self._where), view.version)
