"""Every limit of the engine, with its unit in the name and its reason. Relations are asserted
below.
"""

from typing import Final

NANOSECONDS: Final = 1_000_000_000
"""One second, in the unit of every stamp and duration that enters replicated state."""

# -- time ---------------------------------------------------------------------------------------
TICK_SECONDS: Final = 0.1
"""Raft's unit of time, in which every group wakes once: most of what an idle node costs. Nodes do
not tick in step, so two of them rarely stand for election at the same moment even so.
"""
TICK_EARLY_SECONDS: Final = 0.09
"""A tick comes by up to this early if the group is awake anyway; their mean distance stays."""
HEARTBEAT_TICKS: Final = 1
ELECTION_TICKS_MIN: Final = 5
"""500 ms: five lost heartbeats, longer than a busy machine stalls a Python process."""
ELECTION_TICKS_MAX: Final = 10
SETTLED_SECONDS: Final = 2.0
"""How much is in a group is worth a word if it has been the same for so long: before it goes quiet.
"""
QUIET_TICKS: Final = 30
"""3 s without work, and a group that may go quiet does: to sleep and wake costs two rounds, less
than the heartbeats of one second.
"""
BEAT_SECONDS: Final = 0.25
"""Between two signs of life of a node to another that relies on it, whatever its groups do: all
that is left of the cost of a node whose groups are quiet.
"""
SILENCE_SECONDS: Final = 0.5
"""After two beats without a sign of life a node is believed gone, and the groups that it concerns
look for themselves. To be wrong costs no more than a few seconds of wakefulness.
"""
REST_SECONDS_MAX: Final = 5.0
"""A leader of a quiet group looks at least this often how far its next timer is: a machine may have
been suspended, and the clock that wakes need not be the one that timers go by.
"""
OWNER_LEASE_SECONDS: Final = 1.5
"""How long the leader waits for a silent node before its runs get another owner."""
RESEND_SECONDS: Final = 1.0
"""After this a proposal without outcome is proposed again; sessions and positions make it
harmless.
"""
REQUEST_TIMEOUT_SECONDS: Final = 30.0
"""Default deadline of a client's request; long enough for an election under load."""
CONNECT_TIMEOUT_SECONDS: Final = 5.0
RECONNECT_SECONDS_MIN: Final = 0.05
RECONNECT_SECONDS_MAX: Final = 2.0
LINK_STABLE_SECONDS: Final = 10.0
KNOCK_SECONDS: Final = 2.0
"""A node whom a peer ought to dial, and does not, asks there so often whether it still belongs; a
link to a node that was taken out stands no longer than this.
"""
"""A link that held this long starts again with the shortest reconnection delay."""
HAND_OVER_SECONDS: Final = 5.0
"""A node that stops in order tries for this long to hand over its runs and the lead of groups."""
LOOK_SECONDS: Final = 0.02
"""How often it looks whether it has; a fifth of a tick."""
CLOSE_TIMEOUT_SECONDS: Final = 1.0
"""For the other side to take note of why it is disconnected; it may be hung, so not longer."""
STATE_FLUSH_SECONDS: Final = 0.25
"""Applied state is written behind the log by at most this; the log keeps what is not yet in it.
Longer coalesces more changes of the same row; a restart applies this much of the log again."""
SNAPSHOT_PATIENCE_SECONDS: Final = 30.0
"""A follower that takes nothing of the state for this long is given up; a restart takes less."""
SNAPSHOT_PAUSE_SECONDS: Final = 5.0
"""Before the state is copied for it again: its disk may be full, or ours."""
SESSION_EXPIRY_SECONDS: Final = 3600.0
"""Measured in log time. Longer than any client retries one request."""
RETRY_WAIT_SECONDS_MAX: Final = 366 * 86_400
"""No back-off waits longer; it also bounds the arithmetic of unlimited retries."""

# -- sizes --------------------------------------------------------------------------------------
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""One WebSocket message. Bounds what a hostile or broken peer can make a node hold."""
HELLO_BYTES_MAX: Final = 4 * 1024
"""A frame of a stranger: until both sides know each other, a connection costs next to nothing."""
FRAME_MESSAGES_MAX: Final = 65_536
"""Messages in one frame; a full frame of the smallest messages has fewer."""
RECEIVE_BYTES_MIN: Final = 16 * 1024
RECEIVE_BYTES_MAX: Final = 256 * 1024
"""One read from a socket: grows to this on a busy link (three times as fast at 64 KiB a frame)."""
FRAME_BYTES_TARGET: Final = 512 * 1024
"""A link stops packing more messages into a frame here, so that heartbeats are never far behind."""
PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024
"""One input, result, signal or variable value."""
NAME_BYTES_MAX: Final = 1024
"""An id or a name: they are keys, and stand in every fact about what they name."""
TEXT_BYTES_MAX: Final = 64 * 1024
"""What is for people to read: a reason, the message of an error."""
FAILURE_BYTES_MAX: Final = 1024 * 1024
"""One error as a value, with its causes: each failed attempt records one."""
OPERATION_BYTES_MAX: Final = FRAME_BYTES_MAX - 64 * 1024
"""One operation, request or answer; the rest of a frame is for what it is wrapped in."""
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Values in one page of events or in the description of one run; a single larger event still
fits.
"""
BATCH_BYTES_MAX: Final = 1024 * 1024
"""One log entry stops taking more operations here (a single larger operation still fits)."""
BATCH_OPERATIONS_MAX: Final = 1024
APPEND_BYTES_MAX: Final = 1024 * 1024
"""Entries in one append message (a single larger entry still travels)."""
INFLIGHT_APPENDS_MAX: Final = 64
INFLIGHT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What a leader sends one follower before it must hear back."""
UNCOMMITTED_BYTES_MAX: Final = 64 * 1024 * 1024
"""A leader refuses proposals beyond this uncommitted tail: without a quorum memory must not
grow.
"""
LOG_CACHE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Applied entries a group keeps in memory for followers that lag; older ones are read from disk."""
LOG_ENTRIES_MAX: Final = 10_000
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
"""A group's log is compacted beyond either: seconds of work under full load, so that a restart that
has lost its state's last flush has little to apply again, and the file stays small."""
LOG_TRAILING_ENTRIES: Final = 1000
"""Kept when it is (at most half of what there is): who was away for a moment, or follows a new
leader, needs no copy of the state."""
LOG_HELD_TIMES_MAX: Final = 16
"""A log grows to this many times its limits for a live follower, or one that is sent the state."""
SNAPSHOT_CHUNK_BYTES: Final = 128 * 1024
"""Of a state that is sent: what a heartbeat on the same link may have to wait for. Half of it takes
half again as long, as most of a chunk's cost is its own.
"""
SNAPSHOT_WINDOW_BYTES_MAX: Final = 1024 * 1024
"""What is sent of a state to one follower before it must hear back; one chunk, where the link is so
slow that an answer takes longer than a tick.
"""
SNAPSHOT_RECEIVERS_MAX: Final = 4
"""Followers that are sent the state at once; more wait. It bounds the memory that sending takes."""
SNAPSHOT_TICK_BYTES_MAX: Final = 16 * 1024 * 1024
"""Sent of a group's state in one tick, to all: beyond 160 MB/s a transfer would starve the rest."""
ACTIVATION_COMMANDS_MAX: Final = 1000
ACTIVATION_BYTES_MAX: Final = 512 * 1024
"""An activation that asked for this much is recorded before the code goes on, and results beyond
this wait for the next one.
"""

# -- counts -------------------------------------------------------------------------------------
SLOTS: Final = 1024
"""Parts into which all workflow ids fall, for ever: 1 % of a group's runs is the least that can be
moved with ten groups, and a table of all of them is a few kilobytes."""
MOVE_PAGE_BYTES_MAX: Final = 512 * 1024
"""Rows in one page of a hand-off, which is a log entry of the target (a single larger row still
fits)."""
MOVE_PAGE_ROWS_MAX: Final = 1000
"""As many rows are read, or written, at once: it holds up the group for some 20 ms."""
MAILBOX_MESSAGES_MAX: Final = 100_000
"""A group's mailbox; senders beyond it get ``Overloaded``."""
LINK_QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Waiting for one peer; beyond it the oldest messages are dropped, which Raft repairs."""
LINK_CONNECTIONS_MAX: Final = 1000
"""Inbound connections of one node."""
SESSION_REPLIES_MAX: Final = 4096
"""Requests of one session that may be under way at once, so that each can be answered again."""
INBOX_ITEMS_MAX: Final = 10_000
"""Signals waiting for one run."""
VARIABLE_VERSIONS_CACHED_MAX: Final = 100_000
"""Versions of stand-alone variables kept in memory, 100 bytes each; others are read as rows."""
STEPS_RUNNING_MAX: Final = 1000
"""Step bodies at once on one node."""

INSTANCE_MESSAGES_MAX: Final = 20_000
"""The mailbox of one run; beyond it the run is rebuilt from its history instead."""
INSTANCE_RESTARTS_MAX: Final = 3
"""Restarts of a run's actor by its supervisor before this node gives up on the run; exceptions of
user code are no crashes.
"""
INSTANCE_RESTARTS_SECONDS: Final = 60.0
"""Restarts longer ago are forgiven."""
INSTANCE_BACKOFF_SECONDS: Final = 0.1
INSTANCES_WOKEN_PER_TICK: Final = 32
"""Runs of a group whose past a node goes through in each tick after a restart, if nothing concerns
them: 10,000 in half a minute, at an eighth of a core.
"""

CLIENT_REQUESTS_MAX: Final = 1024
"""Requests of one client connection under way at once; more wait unread in its socket."""
CLIENT_ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Answers to one client connection that wait to be sent; beyond it none is made but the next."""
REQUEST_NUMBER_MAX: Final = 2**62
"""A number in a request: the sum of two of them still is an integer of SQLite's."""
PAGE_ITEMS_MAX: Final = 1000
"""Runs or events in one answer; more are asked for page by page."""

PROTOCOL_VERSION: Final = 1
STORAGE_VERSION: Final = 1
SCHEMA_VERSION: Final = 1
"""Of operations and state rows: see ``design.md``, D15."""

assert HEARTBEAT_TICKS * 3 <= ELECTION_TICKS_MIN, "lost heartbeats must not start elections"
assert TICK_EARLY_SECONDS < TICK_SECONDS
assert RECONNECT_SECONDS_MAX <= KNOCK_SECONDS, "whoever can dial has done so before"
assert ELECTION_TICKS_MIN < ELECTION_TICKS_MAX
assert SETTLED_SECONDS < QUIET_TICKS * TICK_SECONDS
assert ELECTION_TICKS_MAX < QUIET_TICKS, "who is dead is known to be before a group goes quiet"
assert SILENCE_SECONDS + BEAT_SECONDS < ELECTION_TICKS_MAX * TICK_SECONDS, (
    "a group is woken before it gives up a member"
)
assert ELECTION_TICKS_MAX * TICK_SECONDS <= OWNER_LEASE_SECONDS, (
    "a leader exists before a lease ends"
)
assert HELLO_BYTES_MAX <= FRAME_BYTES_TARGET <= FRAME_BYTES_MAX <= LINK_QUEUE_BYTES_MAX
assert PAYLOAD_BYTES_MAX * 2 <= FRAME_BYTES_MAX, "a message with a payload fits a frame"
assert APPEND_BYTES_MAX <= INFLIGHT_BYTES_MAX <= UNCOMMITTED_BYTES_MAX
assert 2 * ACTIVATION_BYTES_MAX + 3 * PAYLOAD_BYTES_MAX <= OPERATION_BYTES_MAX, (
    "an activation fits: a result it began with, a payload it was cut after, and its own result"
)
assert SNAPSHOT_CHUNK_BYTES * 4 <= FRAME_BYTES_TARGET, "a chunk leaves room for others in a frame"
assert SNAPSHOT_CHUNK_BYTES <= SNAPSHOT_WINDOW_BYTES_MAX <= SNAPSHOT_TICK_BYTES_MAX
assert SNAPSHOT_PATIENCE_SECONDS > RESEND_SECONDS
assert 2 * LOG_TRAILING_ENTRIES <= LOG_ENTRIES_MAX
assert TEXT_BYTES_MAX * 2 <= FAILURE_BYTES_MAX <= PAYLOAD_BYTES_MAX
assert MOVE_PAGE_BYTES_MAX <= BATCH_BYTES_MAX
assert PAGE_BYTES_MAX + 2 * PAYLOAD_BYTES_MAX <= OPERATION_BYTES_MAX
