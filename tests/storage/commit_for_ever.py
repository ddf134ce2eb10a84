"""Appends to two groups until it is killed, and prints ``GROUP INDEX`` for each acknowledgement."""

import sys
import time

import trio

from flowactor.identity import GroupId, NodeId
from flowactor.raft import Entry, EntryKind, HardState, Write
from flowactor.storage import DirectoryDisk, LogStore, LogWriter

OUTSTANDING = 8


class SystemClock:
    def now_ns(self):
        return time.time_ns()

    def monotonic_ns(self):
        return time.monotonic_ns()


def fail(error):
    sys.exit(f"the log failed: {error}")


async def main(path):
    disk = DirectoryDisk(path)
    writer = LogWriter(LogStore.open(disk), disk.worker("log"), SystemClock(), fail)
    last = {GroupId(1): 0, GroupId(2): 0}

    def submit(group):
        last[group] += 1
        index = last[group]
        hard_state = HardState(1, NodeId(1), 0) if index == 1 else None
        entry = Entry(1, index, EntryKind.PAYLOAD, b"%d" % index * 20)

        def done():
            sys.stdout.write(f"{group} {index}\n")
            sys.stdout.flush()
            submit(group)

        writer.submit(group, Write(index, hard_state, 0, (entry,)), done)

    for group in last:
        for _ in range(OUTSTANDING):
            submit(group)
    await trio.sleep_forever()


trio.run(main, sys.argv[1])
