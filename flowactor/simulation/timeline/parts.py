"""The files of this package that are not Python: style sheets, scripts, patterns, the page."""

from importlib.resources import files

__all__ = ["part"]


def part(name: str) -> str:
    """The text of one of them, without white space at its end."""
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8").rstrip()
