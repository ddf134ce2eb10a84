"""The command line: ``python -m flowactor``. ``docs/cli.md`` is its reference."""

from flowactor.cli.main import main

__all__ = ["main"]
