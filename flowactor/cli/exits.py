"""What a command's exit code says, in one place: ``docs/cli.md`` repeats this table."""

import enum

from flowactor.errors import CallerError, FlowactorError, RunError, StorageError, WorldError

__all__ = ["Exit", "exit_of"]


class Exit(enum.IntEnum):
    OK = 0
    RUN_ENDED_BADLY = 1
    """The run failed, or was cancelled, terminated or timed out; a history does not replay; a
    simulated run failed.
    """
    USAGE = 2
    """The command line itself is wrong."""
    UNAVAILABLE = 3
    """No answer, or none in time: the outcome may be unknown. A later try may succeed."""
    REFUSED = 4
    """The cluster, or flowactor, refuses this: the same command will be refused again."""
    NODE_FAILED = 5
    """A node (or the demo) could not start, or broke while it ran."""
    INTERRUPTED = 130
    """Ctrl-C, as shells say it."""


def exit_of(error: FlowactorError) -> Exit:
    """The exit code for an error that ends a command."""
    match error:
        case RunError():
            return Exit.RUN_ENDED_BADLY
        case CallerError():
            return Exit.REFUSED
        case StorageError():
            return Exit.NODE_FAILED
        case WorldError() if error.retry_is_safe or error.outcome_unknown:
            return Exit.UNAVAILABLE
        case WorldError():
            return Exit.REFUSED
        case _:
            return Exit.NODE_FAILED
