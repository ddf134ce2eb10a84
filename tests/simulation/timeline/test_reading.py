"""What a timeline finds in the record of a run."""

from flowactor.simulation.faults import Crash, Partition, Reset
from flowactor.simulation.timeline import Timeline
from flowactor.simulation.trace import Kind
from tests.simulation.timeline import sample


def read(*lines, nodes=2, **more):
    return Timeline.of(lines, nodes=nodes, title="a run", **more)


def told(things, kind):
    return [thing for thing in things if thing.kind == kind]


def test_lanes_stand_in_their_order():
    """Faults come first, then nodes, runs and clients, each with as many rows as it needs."""
    lanes = [(lane.key, lane.title, lane.rows) for lane in sample.small().lanes]
    assert lanes == [
        (("faults", 0), "faults", 2),
        (("node", 1), "node 1", 2),
        (("node", 2), "node 2", 2),
        (("node", 3), "node 3", 0),
        (("run", 1), "order-17", 0),
        (("client", 1), "client 1", 2),
        (("client", 2), "client 2", 1),
    ]


def test_a_role_lasts_until_the_next_or_the_end_of_its_node():
    """Roles follow each other; a node that stops has none until it takes one again."""
    timeline = read(
        (10, 1, Kind.ROLE, ("follower", 1, 0)),
        (20, 1, Kind.ROLE, ("follower", 1, 2)),
        (30, 1, Kind.ROLE, ("leader", 2, 1)),
        (50, 1, Kind.STOPPED, ("crash",)),
        (70, 1, Kind.STARTED, (4, 5)),
        (80, 1, Kind.ROLE, ("follower", 3, None)),
        (90, 2, Kind.ROLE, ("leader", 3, 2)),
        (100, 0, Kind.PHASE, ("done",)),
    )
    roles = [
        (span.node, span.begin_ns, span.end_ns, span.form, span.details)
        for span in told(timeline.spans, "role")
    ]
    assert roles == [
        (1, 10, 30, "follower", (1, 2)),
        (1, 30, 50, "leader", (2, 1)),
        (1, 80, 100, "follower", (3, "")),
        (2, 90, 100, "leader", (3, 2)),
    ]
    [down] = told(timeline.spans, "absence")
    assert (down.begin_ns, down.end_ns, down.form, down.details) == (50, 70, "down", ("crash",))


def test_a_node_that_starts_late_or_never_again_is_down():
    """Before its first start, and after its last stop, a node is down."""
    timeline = read(
        (40, 1, Kind.STARTED, (0, 0)),
        (60, 2, Kind.STOPPED, ("power cut",)),
        (90, 0, Kind.PHASE, ("done",)),
    )
    absences = [
        (span.node, span.begin_ns, span.end_ns, span.details[0])
        for span in told(timeline.spans, "absence")
    ]
    assert absences == [(1, 0, 40, "not started yet"), (2, 60, 90, "power cut")]


def test_a_step_that_its_node_does_not_survive_is_cut_short():
    """The crash ends the body; the next attempt is a span of its own on another node."""
    steps = [
        (span.lane[1], span.form, span.details[1:3], span.end_ns // sample.MILLISECOND)
        for span in told(sample.small().spans, "step")
        if span.details[1] == "charge"
    ]
    assert steps == [(1, "cut short", ("charge", 1), 1200), (2, "completed", ("charge", 2), 1720)]


def test_the_end_of_the_run_cuts_nothing_short():
    """Nodes taken down after the last phase were not down, and their steps just went on."""
    timeline = read(
        (0, 0, Kind.PHASE, ("faults",)),
        (10, 1, Kind.STEP, ("r", "a", 1, "started")),
        (20, 0, Kind.PHASE, ("done",)),
        (20, 1, Kind.STOPPED, ("the run is over",)),
    )
    assert [(span.kind, span.form) for span in timeline.spans] == [("step", "running")]


def test_steps_side_by_side_have_rows_of_their_own():
    """Bodies that overlap lie in different rows, and a row that is free is taken again."""
    timeline = read(
        (10, 1, Kind.STEP, ("r", "a", 1, "started")),
        (11, 1, Kind.STEP, ("r", "b", 1, "started")),
        (12, 1, Kind.STEP, ("r", "a", 1, "completed")),
        (13, 1, Kind.STEP, ("r", "c", 1, "started")),
        (20, 1, Kind.STEP, ("r", "c", 1, "timed out")),
    )
    steps = {span.details[1]: (span.row, span.form) for span in told(timeline.spans, "step")}
    assert steps == {"a": (0, "completed"), "b": (1, "running"), "c": (0, "failed")}
    assert timeline.lanes[0].rows == 2


def test_what_never_came_is_lost_unless_it_may_still_come():
    """A message that left long before the end is lost, one that just left is under way, and the
    second copy of one is a duplicate.
    """
    timeline = read(
        (0, 1, Kind.SENT, (1, 2, "Append", 3)),
        (10, 2, Kind.RECEIVED, (1, 1)),
        (15, 2, Kind.RECEIVED, (1, 1)),
        (20, 1, Kind.SENT, (2, 2, "Append", 3)),
        (99, 1, Kind.SENT, (3, 2, "Vote", 4)),
        (100, 2, Kind.RECEIVED, (77, 1)),
    )
    arrows = [(a.number, a.fate, a.sent_ns, a.received_ns) for a in timeline.arrows]
    assert arrows == [
        (1, "received", 0, 10),
        (1, "again", 0, 15),
        (2, "lost", 20, 30),
        (3, "under way", 99, 109),
    ]


def test_numbers_of_messages_may_be_those_of_their_senders():
    """Two senders that count for themselves are not mixed up."""
    timeline = read(
        (0, 1, Kind.SENT, (1, 2, "Append", 3)),
        (1, 2, Kind.SENT, (1, 1, "AppendReply", 3)),
        (5, 1, Kind.RECEIVED, (1, 2)),
    )
    assert [(a.sender, a.what) for a in timeline.arrows if a.fate == "received"] == [
        (2, "AppendReply")
    ]


def test_a_run_has_one_segment_for_each_owner():
    """What several nodes tell of one run counts once; a new owner begins a segment."""
    timeline = read(
        (5, 1, Kind.OPENED, ("r1", "order-1", "Order", 1, 7)),
        (6, 2, Kind.OPENED, ("r1", "order-1", "Order", 1, 7)),
        (6, 1, Kind.OWNER, ("r1", 1, 1, 7)),
        (8, 1, Kind.ADVANCED, ("r1", 1, 2, 8)),
        (9, 2, Kind.ADVANCED, ("r1", 1, 2, 8)),
        (20, 2, Kind.OWNER, ("r1", 2, 2, 9)),
        (21, 1, Kind.OWNER, ("r1", 2, 2, 9)),
        (30, 2, Kind.CLOSED, ("r1", "completed", 11)),
        (31, 1, Kind.CLOSED, ("r1", "completed", 11)),
    )
    owners = [(span.begin_ns, span.end_ns, span.node) for span in told(timeline.spans, "owner")]
    assert owners == [(5, 20, 1), (20, 30, 2)]
    points = [(point.kind, point.at_ns, point.node) for point in timeline.points]
    assert points == [
        ("opened", 5, 1),
        ("advanced", 8, 1),
        ("moved", 20, 2),
        ("closed", 30, 2),
    ]
    assert [(lane.title, lane.subtitle) for lane in timeline.lanes if lane.key[0] == "run"] == [
        ("order-1", "Order · r1")
    ]


def test_an_operation_lasts_until_its_answer():
    """A question that is asked again is one operation; one that is never answered ends with all."""
    timeline = read(
        (10, 0, Kind.ASKED, (1, 1, "Write", 1)),
        (20, 0, Kind.ASKED, (1, 1, "Write", 2)),
        (25, 0, Kind.ASKED, (1, 2, "Read", 2)),
        (30, 0, Kind.ANSWERED, (1, 1, "done")),
        (50, 0, Kind.PHASE, ("done",)),
    )
    operations = [(s.begin_ns, s.end_ns, s.form, s.node, s.row) for s in timeline.spans]
    assert operations == [(10, 30, "answered", 2, 0), (25, 50, "unanswered", 2, 1)]


def test_a_fault_lasts_as_the_record_tells():
    """Begin and end are those of the record; the scenario tells the nodes."""
    crash, partition = Crash(node=2, at=0.0), Partition(sides=((1,), (2,)), at=0.5)
    lines = (
        (3, 0, Kind.FAULT, ("crash", "Crash(node=2, at=0.0)", 1)),
        (5, 0, Kind.FAULT, ("partition", "Partition(sides=((1,), (2,)), at=0.5)", 1)),
        (9, 0, Kind.FAULT, ("crash", "Crash(node=2, at=0.0)", 0)),
        (12, 0, Kind.PHASE, ("healing",)),
        (20, 0, Kind.PHASE, ("done",)),
    )
    bands = [
        (band.kind, band.family, band.begin_ns, band.end_ns, band.nodes, band.row)
        for band in read(*lines, faults=(crash, partition)).bands
    ]
    assert bands == [
        ("crash", "process", 3, 9, (2,), 0),
        ("partition", "network", 5, 12, (1, 2), 1),
    ]
    assert [band.nodes for band in read(*lines).bands] == [(1, 2), (1, 2)]


def test_a_record_without_faults_shows_those_of_the_scenario():
    """Planned faults are shown if the record is silent, except what was not reached."""
    faults = (Reset(1, 2, at=1.0), Crash(node=1, at=2.0, until=9.0), Crash(node=2, at=5.0))
    timeline = read((4_000_000_000, 0, Kind.PHASE, ("done",)), faults=faults)
    bands = [(band.kind, band.begin_ns // 10**9, band.end_ns // 10**9) for band in timeline.bands]
    assert bands == [("reset", 1, 1), ("crash", 2, 4)]


def test_a_paused_node_is_shown_as_such():
    """The pause is a band, and an absence of its node."""
    [pause] = [span for span in sample.small().spans if span.form == "paused"]
    assert (pause.node, pause.begin_ns, pause.end_ns) == (3, 700_000_000, 900_000_000)


def test_the_record_tells_of_its_failure():
    """Without being told, the timeline finds the failure in the record."""
    timeline = read((7_000_000, 0, Kind.FAILED, ("I3", "two leaders in term 4")))
    assert timeline.failure is not None
    assert (timeline.failure.checker, timeline.failed_ns) == ("I3", 7_000_000)


def test_what_is_unknown_or_incomplete_is_passed_over():
    """Kinds of tomorrow, nodes that do not exist and missing details do no harm."""
    kinds = [value for name, value in vars(Kind).items() if not name.startswith("_")]
    lines = [(number, node, kind, ()) for number, kind in enumerate(kinds) for node in (0, 1, 9)]
    timeline = read(*lines, (99, 1, "tomorrow", (1, b"\x00\xff", None)), nodes=1)
    assert timeline.lines == len(lines) + 1
    assert [lane.title for lane in timeline.lanes if lane.key[0] == "node"] == ["node 1"]


def test_an_empty_record_is_an_empty_timeline():
    """A run in which nothing happened has its nodes, and nothing else."""
    timeline = read()
    assert [lane.title for lane in timeline.lanes] == ["node 1", "node 2"]
    assert (timeline.end_ns, timeline.spans, timeline.arrows) == (0, (), ())
