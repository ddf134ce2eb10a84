"""What benchmarks do to the nodes that they measure."""

import os
import threading
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.processes.nodes import ROOT

PATIENCE_SECONDS = 5
FAR_MORE_THAN_A_PIPE_HOLDS = 100_000


@pytest.fixture
def member():
    """``benchmarks/member.py``, which is in no package."""
    spec = spec_from_file_location("member", ROOT / "benchmarks" / "member.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_long_answer_does_not_hold_up_the_node(member):
    """A member whose answer nobody reads yet goes on voting: what runs beside it is not stopped."""
    read_end, write_end = os.pipe()
    went_on, found = threading.Event(), []

    def read():
        # Whoever orders reads the answers of the other members first, and those need this one.
        found.append(went_on.wait(PATIENCE_SECONDS))
        with os.fdopen(read_end) as lines:
            found.append(len(lines.readline()))

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(write_end, "w") as output:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.say, list(range(FAR_MORE_THAN_A_PIPE_HOLDS)), output)
            await wait_all_tasks_blocked()
            went_on.set()
    reader.join()
    in_time, length = found
    assert in_time, "the event loop waited for the reader"
    assert length > FAR_MORE_THAN_A_PIPE_HOLDS
