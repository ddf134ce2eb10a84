"""Keeps the tracer of Hypothesis out of simulations."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unexplained"]


@contextmanager
def unexplained() -> Iterator[None]:
    """Suspend Hypothesis's tracer meanwhile, and no other: coverage is still measured.

    Once an example has failed Hypothesis looks at every line that any other runs, to explain the
    failure. That takes fifty times as long as a simulation does, and what it could say about the
    inside of one - some lines of a scheduler - explains nothing.
    """
    tracer = sys.gettrace()
    is_hypothesis = type(getattr(tracer, "__self__", None)).__module__.startswith("hypothesis.")
    if not is_hypothesis:
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
