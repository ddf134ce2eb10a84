"""What a run leaves behind: no garbage collection while it goes on, and all of it at its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collected_at_its_end"]


@contextmanager
def collected_at_its_end() -> Iterator[None]:
    """Finalizers run where references end, never at a moment that memory decides.

    What was made in here is collected at the end. That looks only at what is new: else it would
    take a tenth of a second, for all the modules there are, after every short run. So whatever is
    still referred to by then, be it by the variables of a caller, is old at the next run, and no
    run ever looks at it again: whoever holds a run until its outcome is made enters this before.
    Then the inner ones do nothing.
    """
    if not gc.isenabled() and gc.get_freeze_count():
        yield
        return
    enabled, frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.disable()
    if not frozen:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        if not frozen:
            gc.unfreeze()
        if enabled:
            gc.enable()
