"""Which machine goes by which address, in a network where every machine has a number."""

import errno
import os
from typing import Final

from flowactor.transport import format_address

__all__ = ["address_of", "host_of", "machine_of"]

PORT: Final = 7400
OWN_NAMES: Final = frozenset(("", "0.0.0.0", "127.0.0.1", "localhost"))  # noqa: S104
NAMED: Final = "node-"
NUMBERED: Final = "10."


def host_of(machine: int) -> str:
    """The host's address: ``10.0.0.1`` is machine 1."""
    return f"10.{machine >> 16 & 255}.{machine >> 8 & 255}.{machine & 255}"


def address_of(machine: int, port: int = PORT) -> str:
    """``HOST:PORT`` of a machine."""
    return format_address(host_of(machine), port)


def machine_of(host: str, own: int) -> int:
    """The number of the machine that ``host`` names when machine ``own`` says it.

    Understood are ``10.0.0.1`` and ``node-1``; ``localhost`` and the like are the machine itself.

    Raises:
        OSError: no machine goes by that name.
    """
    if host in OWN_NAMES:
        return own
    if host.startswith(NAMED) and host.removeprefix(NAMED).isdecimal():
        return int(host.removeprefix(NAMED))
    parts = host.removeprefix(NUMBERED).split(".")
    if host.startswith(NUMBERED) and len(parts) == 3 and all(part.isdecimal() for part in parts):
        high, middle, low = (int(part) for part in parts)
        machine = high << 16 | middle << 8 | low
        if host_of(machine) == host:
            return machine
    raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
