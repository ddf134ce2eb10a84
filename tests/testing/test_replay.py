"""Exported histories against code that is unchanged, changed safely, or broken."""

import inspect
import json
import re
import time
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import flowactor as fa
from flowactor.client import ExportedHistory
from flowactor.client.exports import HISTORY_SUFFIX, read_histories
from flowactor.testing import replay as replaying
from flowactor.testing.replay import Verdict, assert_replays, replay_histories
from tests.testing import recorded
from tests.testing.recorded import EACH, ORDERS, exported
from tests.workflow.driver import Driver
from tests.workflow.flows import echo


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    """By workflow id, each of them through a file."""
    made = recorded.record(tmp_path_factory.mktemp("recorded"))
    return {name: ExportedHistory.from_bytes(made[name].to_bytes()) for name in made}


def verdicts(report) -> dict[str, Verdict]:
    return {result.name: result.verdict for result in report.results}


# -- code ---------------------------------------------------------------------------------------


def test_f6_unchanged_code_replays_every_history(histories):
    """F6: a hundred histories, of runs that end in every way and of open ones, all agree."""
    report = replay_histories(recorded.UNCHANGED, histories.values())
    assert len(report.results) > 100
    assert str(report) == f"{len(histories)} of {len(histories)} histories agree with the code"
    report.check()
    ends = {"completed", "failed", "cancelled", "terminated", "timed_out", "open"}
    assert {result.status for result in report.results} == ends
    assert max(result.activations for result in report.results) > 5


def test_f6_a_broken_version_is_told_of_every_history_in_one_run(histories):
    """F6: exactly the histories that the change breaks are reported, each with both sides and
    their lines.
    """
    report = replay_histories(recorded.BROKEN, histories.values())
    broken = {name for name in histories if name.startswith(("order", "cancelled", "failed"))}
    assert len(broken) == ORDERS + 2 * EACH
    assert {result.name for result in report.failed} == broken
    assert set(verdicts(report).values()) == {Verdict.OK, Verdict.MISMATCH}
    with pytest.raises(fa.DeterminismViolation) as raised:
        report.check()
    text = str(raised.value)
    for name in broken:
        assert text.count(f"{name} (") == 1
    first = f"line {line_of(recorded.Order, 'fa.sleep')}, in Order.run"
    second = f"line {line_of(recorded.BrokenOrder, 'charge(')}, in BrokenOrder.run"
    assert re.search(f"recorded: timer sleep due at .* at tests.testing.recorded, {first}", text)
    assert re.search(f"this code: step charge .* at tests.testing.recorded, {second}", text)


def line_of(cls: type, text: str) -> int:
    lines, start = inspect.getsourcelines(cls)
    return start + next(number for number, line in enumerate(lines) if text in line)


def test_f3_safe_changes_are_no_mismatch(histories):
    """F3: another body of a step, retry policy and limit, other lines and a new handler."""
    assert_replays(recorded.SAFE, *histories.values())


async def test_code_is_out_of_reach_of_a_running_trio(histories):
    """Inside an asynchronous test replaying works as anywhere, and reaches none of its tasks."""
    assert_replays(recorded.UNCHANGED, histories["branches-00"], histories["long-1"])
    [result] = replay_histories(fa.App([Lost]), [exported(Driver(Recorded, 1))]).results
    assert "this code: fail with flowactor.errors.ForeignAwait" in result.problem


@fa.workflow(name="Lost", version=1)
class Recorded:
    async def run(self, value: int) -> int:
        return await echo(value)


@fa.workflow(name="Lost", version=1)
class Lost:
    async def run(self, value: int) -> int:
        with trio.move_on_after(1):
            return await echo(value)
        return 0


def test_a_mismatch_has_its_place(histories):
    """A result tells activation and command, and both commands as values."""
    history = histories["cancelled-0"]
    [result] = replay_histories(recorded.BROKEN, [history]).results
    assert result.info == history.info
    assert result.activations == len(history.activations())
    assert history.activations()[result.position].commands[result.mismatch.index] == (
        result.mismatch.recorded
    )
    assert result.mismatch.recorded_text in result.problem
    assert result.mismatch.produced_text in result.problem


def test_types_and_versions_that_the_app_lacks_are_named(histories):
    """A history of another type or version is told apart, with what the app has."""
    report = replay_histories(fa.App([recorded.Branches]), histories.values())
    results = {result.name: result for result in report.results}
    assert results["branches-00"].verdict is Verdict.OK
    assert results["order-00"].verdict is Verdict.UNREGISTERED
    assert "it has: Branches v1" in results["order-00"].problem
    assert "has: nothing" in str(replay_histories(fa.App([]), [histories["order-00"]]))


def test_no_history_at_all_is_no_agreement():
    """Whoever gives no history learns nothing, and is told so."""
    report = replay_histories(recorded.UNCHANGED, [])
    assert not report.agrees
    with pytest.raises(AssertionError, match="0 of 0 histories agree"):
        assert_replays(recorded.UNCHANGED)


def test_a_random_hash_seed_is_mentioned_where_it_may_matter(histories, monkeypatch):
    """Only where there are mismatches, and the process has another hash seed than nodes have."""
    for randomized, app, expected in [
        (1, recorded.BROKEN, True),
        (0, recorded.BROKEN, False),
        (1, recorded.UNCHANGED, False),
    ]:
        flags = SimpleNamespace(hash_randomization=randomized)
        monkeypatch.setattr(replaying, "sys", SimpleNamespace(flags=flags))
        report = replay_histories(app, [histories["order-00"]])
        assert ("PYTHONHASHSEED=0" in str(report)) is expected


# -- escapes --------------------------------------------------------------------------------------


@fa.workflow(name="Clocked", version=1)
class Clocked:
    """Looks at a clock, to no effect on its course."""

    async def run(self, deep: bool) -> int:
        async def look() -> None:
            await echo(1)
            time.time()

        if deep:
            async with fa.open_nursery() as nursery:
                nursery.start_soon(look)
        else:
            await look()
        return await echo(2)


@pytest.mark.parametrize("deep", [False, True])
def test_f7_a_clock_of_the_process_is_reported_with_its_line(deep):
    """F7: though the history agrees, code that reads a clock is an escape, with file, line and
    cure, also from inside a nursery; leniently it passes.
    """
    driver = Driver(Clocked, deep)
    driver.run()
    app = fa.App([Clocked])
    [result] = replay_histories(app, [exported(driver)]).results
    assert result.verdict is Verdict.ESCAPE
    assert result.position == 1
    place = f"{__file__}:{line_of(Clocked, 'time.time()')} calls time.time"
    assert place in result.problem
    assert "Write instead: fa.now()" in result.problem
    assert "\n" not in result.problem
    assert_replays(app, exported(driver), strict=False)


# -- files ----------------------------------------------------------------------------------------


def test_histories_come_back_from_files_as_they_were(histories):
    """Written, read and written again a history has the same bytes, and its name fits a file."""
    for history in histories.values():
        data = history.to_bytes()
        again = ExportedHistory.from_bytes(data)
        assert again == history
        assert again.to_bytes() == data
    names = {history.file_name for history in histories.values()}
    assert len(names) == len(histories)


GOLDEN = b"""\
{"flowactor_history":1,"written_by":"0.1.0","workflow_id":"order-1","run_id":"run-1",\
"workflow_type":"Echo","version":1,"started_ns":1700000000000000000,"status":"completed","rows":4}
[70,"order-1","Echo",1,1,0]
[71,1,[10,{"base64":"gQM="}]]
[52,"run-1",1,0,1700000000000000000,[[51,1]],[[26,{"base64":"Aw=="},"shop:Echo.run:6"]]]
[78,"completed",""]
{"digest":"8457157d6f50ef276e98e5a1d0ae9795"}
"""


@fa.workflow(name="Echo", version=1)
class Echo:
    async def run(self, value: int) -> int:
        return value


def test_files_of_before_are_read_for_ever():
    """These lines lie in repositories: they are read, they replay, and they are written so."""
    history = ExportedHistory.from_bytes(GOLDEN)
    header, *rows, _ = history.to_bytes().splitlines()
    assert rows == GOLDEN.splitlines()[1:-1]
    here = json.loads(header) | {"written_by": "0.1.0"}
    assert list(here.items()) == list(json.loads(GOLDEN.splitlines()[0]).items())
    assert_replays(fa.App([Echo]), history)


@pytest.fixture
def folder(tmp_path, histories):
    """Two folders with a file each of one history, and a file of three."""
    for name in ("a/order-00", "b/branches-00"):
        path = tmp_path / f"{name}{HISTORY_SUFFIX}"
        path.parent.mkdir()
        path.write_bytes(histories[path.name.removesuffix(HISTORY_SUFFIX)].to_bytes())
    joined = [histories[f"signalled-{number}"].to_bytes() for number in range(EACH)]
    (tmp_path / f"joined{HISTORY_SUFFIX}").write_bytes(b"\n".join(joined))
    (tmp_path / "notes.txt").write_text("no history")
    return tmp_path


def test_folders_and_joined_files_are_read_whole(folder):
    """A folder stands for the histories at any depth, in the order of their paths; a text of
    another kind in it is left alone.
    """
    report = replay_histories(recorded.UNCHANGED, [folder])
    report.check()
    names = ["order-00", "branches-00", *(f"signalled-{number}" for number in range(EACH))]
    assert [result.name for result in report.results] == names
    assert report.results[0].source == str(folder / f"a/order-00{HISTORY_SUFFIX}")
    assert_replays(recorded.UNCHANGED, str(folder / "a"), folder / "b")


def test_line_ends_of_another_system_are_no_damage(histories, tmp_path):
    """A file that went through a system with other line ends is read all the same."""
    data = histories["order-00"].to_bytes().replace(b"\n", b"\r\n")
    assert ExportedHistory.from_bytes(data) == histories["order-00"]


def test_what_cannot_be_read_hides_nothing(histories, tmp_path):
    """In a file of three, the middle one is cut short at any line, or in a line: the others are
    replayed, and the damaged one is named with its line.
    """
    first, middle, last = (histories[f"order-{number:02}"].to_bytes() for number in (0, 1, 2))
    lines = middle.splitlines(keepends=True)
    cuts = [b"".join(lines[:count]) for count in range(1, len(lines))]
    cuts += [middle[: len(middle) // 2] + b"\n", middle[:-4] + b"\n"]
    path = tmp_path / "joined"
    for cut in cuts:
        path.write_bytes(first + cut + last)
        results = replay_histories(recorded.UNCHANGED, [path]).results
        assert [result.verdict.value for result in results] == ["ok", "unreadable", "ok"]
        number = len(first.splitlines()) + 1
        assert f"line {number}: the history of 'order-01' is cut" in results[1].problem


def damaged(change) -> bytes:
    """The golden file with its lines changed, and a digest that fits them."""
    lines = GOLDEN.splitlines(keepends=True)[:-1]
    change(lines)
    return b"".join(lines) + recorded.end_of(lines)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "this file holds no history"),
        (b"\n\n", "this file holds no history"),
        (b"\x00\xff" * 1000, "this is no exported history"),
        (b'{"some": "json"}\n', "this is no exported history"),
        (b"[" * 100_000, "this is no exported history"),
        (b'{"flowactor_history":1', "this is no exported history"),
        (b'{"flowactor_history":1}\n', "cut short"),
        (GOLDEN.replace(b"order-1", b"order-2"), "'order-2' was changed since it was exported"),
        (GOLDEN + b"[1]\n", "cut short, or in disorder"),
        (
            GOLDEN.replace(b'_history":1', b'_history":2').replace(b"0.1.0", b"7.0"),
            "of format 2, this flowactor reads format 1: use flowactor 7.0",
        ),
        (damaged(lambda lines: lines.__setitem__(1, b"[69]\n")), "no record has the tag 69"),
        (damaged(lambda lines: lines.__setitem__(1, b"[71]\n")), "Arrived"),
        (damaged(lambda lines: lines.__setitem__(2, b'{"base64":"g?=="}\n')), "not a record: None"),
        (damaged(lambda lines: lines.__setitem__(1, b"[40,1]\n")), "OpenSession"),
        (damaged(lambda lines: lines.__setitem__(1, b"[51,1]\n")), "InboxRef is no row"),
        (damaged(lambda lines: lines.__setitem__(1, lines[4])), "has no beginning"),
        (damaged(lambda lines: lines.__setitem__(2, lines[4])), "what never arrived: item 1"),
        (
            damaged(lambda lines: lines.__setitem__(3, lines[3].replace(b"1,0,17", b"1,1,17"))),
            "activation 1 stands where 0 belongs",
        ),
        (
            damaged(lambda lines: lines.__setitem__(2, b'[71,1,[15,"why"]]\n')),
            "a run starts once, at first",
        ),
        (
            damaged(lambda lines: lines.__setitem__(0, lines[0].replace(b'"run-1"', b"7"))),
            "does not say which run",
        ),
    ],
)
def test_a_file_of_another_kind_is_told_apart(data, problem, tmp_path):
    """Empty, of another kind, of a later format, edited, or in disorder: each is one unreadable
    result that says why.
    """
    path = tmp_path / "file"
    path.write_bytes(data)
    [result] = replay_histories(fa.App([Echo]), [path]).results
    assert result.verdict is Verdict.UNREADABLE
    assert problem in result.problem
    assert str(path) in str(result)


def test_an_empty_folder_is_no_agreement(tmp_path):
    """A folder without histories is reported, a path that is not there is an error."""
    with pytest.raises(AssertionError, match=f"no file in this folder ends in {HISTORY_SUFFIX}"):
        assert_replays(recorded.UNCHANGED, tmp_path)
    with pytest.raises(FileNotFoundError):
        replay_histories(recorded.UNCHANGED, [tmp_path / "nowhere"])


@given(st.data())
def test_any_damage_is_noticed(data):
    """Whatever happens to some bytes of a file, it is read as it was or refused with a reason."""
    start = data.draw(st.integers(0, len(GOLDEN)))
    end = data.draw(st.integers(start, len(GOLDEN)))
    changed = GOLDEN[:start] + data.draw(st.binary(max_size=20)) + GOLDEN[end:]
    for found in read_histories(changed.splitlines()):
        if isinstance(found, ExportedHistory):
            assert found == ExportedHistory.from_bytes(GOLDEN)
        else:
            assert isinstance(found, fa.FlowactorError)
