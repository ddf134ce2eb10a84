"""What Python itself reports of files, networks, processes, threads and databases (PEP 578).

An audit hook cannot be taken out again, so there is one in a process, put in by the first
simulation; it sleeps unless code of the user's is at work in one.
"""

import sys
from collections.abc import Callable
from inspect import currentframe
from types import FrameType
from typing import Any, Final

from flowactor.simulation.runtime.escapes import FILE, NETWORK, PROCESS, THREAD, Cure

__all__ = ["EARS"]

Told = Callable[[FrameType, str, Cure], None]
"""Who acts, what is reported, and what to write instead."""

_FAMILIES: Final = {
    **dict.fromkeys(("open", "os", "shutil", "tempfile", "glob", "pathlib", "mmap", "fcntl"), FILE),
    **dict.fromkeys(("sqlite3", "dbm"), FILE),
    **dict.fromkeys(
        ("socket", "urllib", "http", "ftplib", "smtplib", "poplib", "imaplib"), NETWORK
    ),
    **dict.fromkeys(("subprocess", "pty", "webbrowser"), PROCESS),
}
_EVENTS: Final = {
    **dict.fromkeys(
        (
            "os.exec",
            "os.fork",
            "os.forkpty",
            "os.kill",
            "os.killpg",
            "os.posix_spawn",
            "os.spawn",
            "os.startfile",
            "os.system",
        ),
        PROCESS,
    ),
    "_thread.start_new_thread": THREAD,
    # The environment is as whoever started the process has made it: the same in each run of it.
    **dict.fromkeys(("os.putenv", "os.unsetenv", "sqlite3.connect/handle"), None),
}
_IN_MEMORY: Final = ":memory:"


class _Ears:
    """The hook of this process.

    Attributes:
        told: called with what happens, if anybody wants to know; may raise into who does it.
    """

    def __init__(self) -> None:
        self.told: Told | None = None
        self._open = False

    def open(self) -> None:
        """Hear from now on."""
        if not self._open:
            sys.addaudithook(self._heard)
            self._open = True

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        told = self.told
        if told is None:
            return
        cure = _EVENTS.get(event, _FAMILIES.get(event.partition(".")[0]))
        if cure is None or (event == "sqlite3.connect" and arguments[:1] == (_IN_MEMORY,)):
            return
        frame = currentframe()
        if frame is not None and frame.f_back is not None:
            told(frame.f_back, event, cure)


EARS: Final = _Ears()
