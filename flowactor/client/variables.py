"""Replicated variables that belong to the cluster, not to a run."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flowactor.client.caller import Caller, expect
from flowactor.client.streams import Versioned, Watch, versioned
from flowactor.cluster.protocol.requests import ReadVariable, VariableView
from flowactor.codec import payloads
from flowactor.errors import NotFound, VersionMismatch
from flowactor.machine.operations import CompareAndSet, WriteVariable
from flowactor.machine.replies import Done, Written

__all__ = ["ClusterVariable"]

T = TypeVar("T")


class ClusterVariable(Generic[T]):
    """A named, linearizable value; see ``Client.variable``."""

    def __init__(self, caller: Caller, name: str, value_type: type[T]) -> None:
        self.name = name
        self._caller = caller
        self._type: Any = value_type

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
        return versioned(expect(answer, VariableView), self._type)

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

    def watch(self) -> Watch[T]:
        """The value now, then again after each change, for ever. Values that were replaced before
        they could be shown are skipped; the latest is always shown.
        """
        return Watch(self._caller, self.name, self._type)

    def _encode(self, value: T) -> bytes:
        return payloads.encode_payload(value, self._type, f"variable {self.name!r}")
