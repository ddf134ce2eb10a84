"""The world outside the engine, shared by a test and the processes of its nodes through files.

Step bodies leave one line per execution there, so that what really ran can be counted without
asking the engine; and they can be made to wait until the test opens a gate.
"""

import os
from pathlib import Path

import trio
from attrs import frozen

import flowactor as fa

FOLDER = "FLOWACTOR_TEST_OUTSIDE"
"""The environment variable that tells node processes where."""
FILE_SECONDS = 0.002


async def moment(seconds: float = FILE_SECONDS) -> None:
    """Before looking again: files and other processes wake nobody."""
    await trio.sleep(seconds)


@frozen
class Execution:
    """One execution of a step's body: which step of which run, as which attempt."""

    workflow_id: str
    step: str
    attempt: int
    key: str


@frozen
class Outside:
    """``folder`` outlives every node."""

    folder: Path

    @classmethod
    def of_this_process(cls) -> "Outside":
        return cls(Path(os.environ[FOLDER]))

    def bump(self) -> None:
        """Note that the running step's body runs: one line, in one write that no other splits."""
        info = fa.step_info()
        line = f"{info.workflow_id} {info.name} {info.attempt} {info.idempotency_key}\n"
        file = os.open(self.folder / "executions", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def executions(self, workflow_id: str, step: str = "") -> list[Execution]:
        """What ran of a run (or of one of its steps), in order."""
        path = self.folder / "executions"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [Execution(run, name, int(n), key) for run, name, n, key in map(str.split, lines)]
        return [e for e in found if e.workflow_id == workflow_id and step in {"", e.step}]

    async def gate(self, name: str) -> None:
        """Wait until the test opens it."""
        while not (self.folder / f"gate {name}").exists():
            await moment()

    def open(self, name: str) -> None:
        (self.folder / f"gate {name}").touch()
