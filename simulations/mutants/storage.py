"""Mutants of what a node stands on: its disk, the state it receives, its links."""

from typing import Final

from simulations.mutants.mutant import CHANGING, DISKS, Edit, Mutant

__all__ = ["STORAGE"]

INCOMING: Final = "storage/incoming.py"
LOG_STORE: Final = "storage/log_store.py"
OF_SNAPSHOTS: Final = "tests/storage/test_snapshots.py"

STORAGE: Final = (
    Mutant(
        "failed-sync-tried-again",
        "first_failed_sync_poisons",
        "What a failed sync left open is written once more, and then believed.",
        (
            Edit(
                "storage/faults.py",
                "            return StoragePoisoned(\n",
                "            return StorageFull(\n",
            ),
        ),
        test="tests/storage/test_rules.py::test_first_failed_sync_poisons",
    ),
    Mutant(
        "commit-not-synced",
        "ack_only_durable",
        "A write is acknowledged when the kernel has it.",
        (
            Edit(
                LOG_STORE,
                '"synchronous = FULL"',
                '"synchronous = NORMAL"',
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "liars-beside-the-log",
        "first_failed_sync_poisons",
        "A process reads what a failed sync of the last one left in the kernel alone.",
        (
            Edit(
                "storage/connecting.py",
                "            if disk.exists(name + suffix):\n",
                "            if not suffix and disk.exists(name + suffix):\n",
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "damage-is-a-torn-tail",
        "torn_tail_vs_corruption",
        "Whatever follows a damaged frame is dropped as a write that was interrupted.",
        (
            Edit(
                LOG_STORE,
                "    if frame is not None:\n        raise StorageCorrupt(\n",
                "    if frame == 0:\n        raise StorageCorrupt(\n",
            ),
        ),
        test="tests/storage/test_rules.py::test_torn_tail_vs_corruption",
    ),
    Mutant(
        "torn-tail-is-damage",
        "torn_tail_vs_corruption",
        "A write that a power cut interrupted is taken for damage.",
        (
            Edit(
                "storage/wal_check.py",
                "    for number in range(frames_replayed + 1,",
                "    torn = frame(frames_replayed + 1)\n"
                "    if torn[8:16] == salts and len(torn) == frame_bytes:\n"
                "        return frames_replayed + 1\n"
                "    for number in range(frames_replayed + 1,",
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "recovery-cuts-the-tail",
        "recovery_idempotent",
        "A restarted node keeps of its log what it knew to be committed.",
        (
            Edit(
                LOG_STORE,
                "        last_index = max(last_index or 0, start.index)\n",
                "        last_index = max(min(last_index or 0, hard_state.commit), start.index)\n",
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "full-disk-unheard",
        "disk_full_is_an_error",
        "What finds no room on the disk is acknowledged as if it were there.",
        (
            Edit(
                "storage/writer.py",
                "        except StorageFull:\n"
                "            self._waiting.extendleft(reversed(batch))\n"
                "            raise\n",
                "        except StorageFull:\n            pass\n",
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "read-back-without-heads",
        "inflight_bounded_in_bytes",
        "Entries that are read back count by their data alone.",
        (
            Edit(
                LOG_STORE,
                "                bytes_max -= size_bytes(entry)\n",
                "                bytes_max -= len(entry.data)\n",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "chunks-not-checked",
        "snapshot_resumes",
        "A chunk of a state is written as it comes, whatever became of it on its way.",
        (
            Edit(
                INCOMING,
                "        if fits and crc32(data) == checksum:\n",
                "        if fits:\n",
            ),
        ),
        test=f"{OF_SNAPSHOTS}::test_damaged_chunk_is_asked_for_again",
    ),
    Mutant(
        "any-copy-is-resumed",
        "snapshot_resumes",
        "A transfer goes on after what is there of another copy.",
        (
            Edit(
                INCOMING,
                "        if receipt.read(0, _HEADER_BYTES) == header:\n",
                "        if receipt.read(0, _HEADER_BYTES):\n",
            ),
        ),
        test=f"{OF_SNAPSHOTS}::test_another_copy_begins_anew",
    ),
    Mutant(
        "one-link-ends-all",
        "transport_error_is_local",
        "A connection that breaks ends what keeps all connections.",
        (
            Edit(
                "transport/link.py",
                "        except* WorldError as group:\n",
                "        except* AssertionError as group:\n",
            ),
        ),
        scenario=DISKS,
    ),
    Mutant(
        "heir-never-given-up",
        "transfer_times_out",
        "A leader waits for whom it hands over to for ever, and takes no proposal meanwhile.",
        (
            Edit(
                "raft/handover.py",
                "    if role.transfer.ticks >= state.config.election_ticks_max:\n",
                "    if role.transfer.ticks < 0:\n",
            ),
        ),
        test="tests/raft/test_handover.py::test_transfer_times_out",
    ),
)
"""Each breaks one rule in one way."""
