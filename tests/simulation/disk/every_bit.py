"""Every bit of a small log, in its main file and in its WAL: as ``test_damage.py`` does with some.

It is not collected by itself, since it takes an hour::

    python -m pytest tests/simulation/disk/every_bit.py
"""

import pytest

from flowactor.simulation.disk.damage import WAL_FILE
from tests.simulation.disk.building import found_on
from tests.simulation.disk.damaging import (
    MAIN_FILE,
    closed_log,
    flipped,
    guarded_bits,
    killed_log,
    look,
    outcome,
    without_last_write,
)

SPAN_BYTES = 512


def spans(device, name):
    """(first, end) of the bits that one test tries."""
    size = len(device.files[name].content)
    starts = range(0, size, SPAN_BYTES)
    return [(8 * at, 8 * min(at + SPAN_BYTES, size)) for at in starts]


@pytest.mark.parametrize("span", spans(closed_log()[0], MAIN_FILE))
def test_every_bit_of_the_main_file(span):
    """A wrong bit of ``log.db`` is reported at the start, or changes nothing of what is found."""
    device, last = closed_log()
    right = look(device, last)
    for bit in range(*span):
        flipped(device, MAIN_FILE, bit)
        assert outcome(right, look, device, last) in ("reported", "harmless"), f"bit {bit}"
        flipped(device, MAIN_FILE, bit)


@pytest.mark.parametrize("span", spans(killed_log(1), WAL_FILE))
def test_every_bit_of_the_wal(span):
    """A wrong bit of the WAL is reported, or costs the last transaction alone."""
    device = killed_log(1)
    right, before = found_on(device), without_last_write(device)
    guarded = guarded_bits(device)
    for bit in range(*span):
        flipped(device, WAL_FILE, bit)
        if bit < guarded:
            assert outcome(right, found_on, device) == "reported", f"bit {bit}"
        else:
            last = outcome(right, found_on, device, before=before)
            assert last in ("reported", "harmless"), f"bit {bit}"
        flipped(device, WAL_FILE, bit)
