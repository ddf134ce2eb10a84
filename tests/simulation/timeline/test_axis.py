"""The axis of time: to scale where something happens, broken where for long nothing does."""

import pytest

from flowactor.simulation.timeline.axis import Axis, Quiet, quiet_stretches
from flowactor.simulation.timeline.scale import Scale
from flowactor.simulation.timeline.wording import length_text
from tests.simulation.timeline import sample

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


def test_a_long_wait_is_a_small_part_of_the_axis():
    """Two weeks among four seconds take a twentieth of these, and the rest keeps its scale."""
    axis = Axis.of([Quiet(3 * SECOND, 14 * DAY)], 0, 14 * DAY + SECOND)
    assert axis.place(0) == 0
    assert axis.place(2 * SECOND) == 2 * SECOND
    assert axis.place(14 * DAY) == 3 * SECOND + 4 * SECOND // 20
    assert axis.place(14 * DAY + SECOND) == axis.place(14 * DAY) + SECOND
    assert axis.place(7 * DAY) == pytest.approx(3.1 * SECOND, rel=0.01)


def test_moments_keep_their_order():
    """Whatever is broken, later is further to the right."""
    quiet = quiet_stretches((0, SECOND, DAY, DAY + 1, 3 * DAY, 3 * DAY + SECOND))
    axis = Axis.of(quiet, 0, 3 * DAY + SECOND)
    assert len(axis.breaks) == 2
    moments = (-SECOND, 0, SECOND, SECOND + 10**9, DAY, DAY + 1, 2 * DAY, 3 * DAY, 4 * DAY)
    places = [axis.place(at_ns) for at_ns in moments]
    assert places == sorted(places)
    assert len({*places}) == len(places)


def test_what_is_as_long_as_the_rest_is_to_scale():
    """A pause of ten seconds in a run of a minute is drawn as long as it was."""
    quiet = quiet_stretches((*range(0, 50 * SECOND, SECOND), 60 * SECOND))
    assert [gap.length_ns for gap in quiet] == [11 * SECOND]
    assert Axis.of(quiet, 0, 60 * SECOND).breaks == ()
    assert len(Axis.of(quiet, 45 * SECOND, 60 * SECOND).breaks) == 1


def test_nothing_lies_within_a_quiet_stretch():
    """Messages, spans, points, faults and phases end a stretch; the end of the run does, too."""
    timeline = sample.waiting()
    [gap] = timeline.quiet
    assert length_text(gap.length_ns) == "14 d"
    lasting = (*timeline.spans, *timeline.bands, *timeline.phases)
    moments = [moment for it in lasting for moment in (it.begin_ns, it.end_ns)]
    moments += [point.at_ns for point in timeline.points]
    moments += [moment for it in timeline.arrows for moment in (it.sent_ns, it.received_ns)]
    assert not any(gap.begin_ns < moment < gap.end_ns for moment in moments)
    assert {gap.begin_ns, gap.end_ns} <= set(moments)


def test_ticks_go_on_behind_a_break():
    """They are as far from each other as before, and tell the time of day they stand for."""
    axis = Axis.of([Quiet(3 * SECOND, 14 * DAY)], 0, 14 * DAY + SECOND)
    ticks = list(Scale(0, 14 * DAY + SECOND, 0, 500, axis).ticks())
    assert [time for _, time in ticks] == [
        "0 s",
        "1 s",
        "2 s",
        "3 s",
        "14 d 0:00:00",
        "14 d 0:00:01",
    ]
    places = [place for place, _ in ticks]
    assert places[1] - places[0] == pytest.approx(places[5] - places[4])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (90, "1.5 min"), (5400, "1.5 h"), (1_209_597, "14 d"), (2_000 * 86_400, "2000 d")],
)
def test_a_length_is_said_shortly(seconds, text):
    """In the largest unit of which it has one."""
    assert length_text(seconds * SECOND) == text
