"""Commands about nodes and groups, against two node processes, one of which joined the other."""

import re
import signal
import time

import attrs
import pytest
from attrs import evolve

from flowactor.cli.cluster_views import cluster, groups, node_state, print_cluster
from flowactor.cli.exits import Exit
from flowactor.cli.groups_commands import MEANINGS
from flowactor.cli.members_commands import is_gone
from flowactor.cli.output import Output
from flowactor.cli.standing import warnings
from flowactor.cluster.protocol.views import ClusterView, GroupView, NodeView, PlacementView
from flowactor.management.settings import Settings

pytestmark = pytest.mark.processes

ORDER = '{"item": "tea", "amount": 5}'
SETTLE_SECONDS = 40.0


@pytest.fixture(scope="module")
def two_nodes(start_node):
    first = start_node("--bootstrap", "--data", "first")
    second = start_node("--join", first.address, "--data", "second")
    return first, second


@pytest.fixture
def run(two_nodes, make_commands):
    """Runs commands against both, once both serve in the first group."""
    commands = make_commands(",".join(node.address for node in two_nodes))
    deadline = time.monotonic() + SETTLE_SECONDS
    while commands.json("groups", "list")["placements"][0]["voters"] != [1, 2]:
        assert time.monotonic() < deadline, commands("status").output
    return commands


# -- members ------------------------------------------------------------------------------------


def test_members_are_listed(run, two_nodes):
    """Both nodes, each with its address, its state and its groups; a line each for people."""
    members = run.json("members", "list")["nodes"]
    assert [(each["node"], each["address"]) for each in members] == [
        (number, node.address) for number, node in enumerate(two_nodes, start=1)
    ]
    for each in members:
        assert (each["state"], each["liveness"], each["reachable"]) == ("member", "alive", True)
        assert 1 in each["groups"]
        assert each["workflows"] == ["ProcessOrder v1"]
    lines = run("members", "list").stdout.splitlines()
    assert lines[1].startswith("NODE  ADDRESS")
    assert " up " in lines[2]
    assert " up " in lines[3]


def test_status_says_what_is_not_fault_tolerant(run):
    """A group of fewer than three voters is named, to people and to machines; the lag of followers
    is there whoever is asked.
    """
    shown = run("status").stdout
    assert "\ngroup 0 is not fault tolerant: it has 1 voter, and needs 3" in shown
    assert "\ngroup 1 is not fault tolerant: it has 2 voters, and needs 3" in shown
    groups = run.json("status")["groups"]
    assert [group["fault_tolerant"] for group in groups] == [False, False]
    assert [list(group["lags"]) for group in groups] != [[], []]


def test_a_node_joins_by_itself(run):
    """Who looks for the way to add a node is told it, before anything is asked."""
    result = run("members", "add", "3")
    assert result.exit_code == Exit.USAGE
    assert "node --join HOST:PORT" in result.stderr


def test_roles_in_the_management_group(run):
    """A node is made a voter, a learner, and neither; somebody has to vote."""
    assert run.json("members", "promote", "2") == {"node": 2, "changed": True}
    assert run.json("members", "list")["nodes"][1]["pin"] == "voter"
    assert run("members", "demote", "2").stdout == (
        "node 2 is not to vote in the management group\n"
    )
    refused = run.json("members", "demote", "1", code=4)
    assert "somebody has to vote" in refused["message"]
    assert run.json("members", "unpin", "2")["changed"] is True
    assert run.json("members", "list")["nodes"][1]["pin"] == ""


def test_the_lead_is_handed_over(run):
    """To and fro; it is no change if the node leads already."""
    for node in (2, 1):
        led = run.json("members", "transfer", str(node), "--group", "1")
        assert led["groups"] == [1]
        [group] = [each for each in run.json("status")["groups"] if each["group"] == 1]
        assert group["leader"] == node
    again = run("members", "transfer", "1", "--group", "1")
    assert again.stdout == "node 1 leads group 1, as before\n"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("members", "remove", "9"), "NotFound", "there is no node 9; `members list` names them"),
        (("members", "promote", "9"), "NotFound", "there is no node 9; `members list` names them"),
        (("members", "transfer", "9"), "InvalidInput", "`members list` shows who is there"),
        (("members", "transfer", "9", "--group", "1"), "InvalidInput", "its voters are: 1, 2"),
        (("members", "transfer", "1", "--group", "9"), "NotFound", "`groups list` names them"),
        (("members", "add", "9", "--group", "1"), "NotFound", "there is no node 9"),
        (("members", "add", "1", "--group", "9"), "NotFound", "`groups list` names them"),
        (("groups", "split", "9"), "NotFound", "group 9"),
        (("groups", "drain", "1"), "InvalidInput", "the only one"),
        (("groups", "move", "9", "--slots", "1"), "NotFound", "group 9; `groups list` names them"),
        (("groups", "abort", "9"), "NotFound", "there is no move 9"),
        (("groups", "create", "9"), "NotFound", "node 9"),
        (("groups", "settings", "fly=1"), "InvalidInput", "there is no setting 'fly'; there are:"),
        (("groups", "settings", "group_size_min=9"), "InvalidInput", "must hold"),
    ],
)
def test_what_cannot_be_is_code_4(run, arguments, error, text):
    """The refusal names what is wrong, or what to do; nothing was changed."""
    refused = run.json(*arguments, code=Exit.REFUSED)
    assert refused["error"] == error
    assert text in refused["message"]


# -- groups -------------------------------------------------------------------------------------


def test_a_group_is_split_moved_to_and_drained(run):
    """A second group is founded and gets slots, also by hand, with the run that is in one; it is
    drained, and the run is still there.
    """
    run.json("start", "ProcessOrder", f"[{ORDER}, true]", "--id", "moved")
    new = run.json("groups", "split", "1")
    assert new["from"] == 1
    group = str(new["group"])
    deadline = time.monotonic() + SETTLE_SECONDS
    while (moved := run("groups", "move", group, "--workflow", "moved")).exit_code != 0:
        assert time.monotonic() < deadline, moved.output + run("status").output
    placements = run.json("groups", "list")["placements"]
    assert [each["group"] for each in placements] == [1, new["group"]]
    assert "SLOTS" in run("groups", "list").stdout
    ended = run("groups", "drain", group, "--wait", "--timeout", "60")
    assert (ended.exit_code, ended.stdout) == (0, f"group {group} has ended\n")
    assert len(run.json("groups", "list")["placements"]) == 1
    assert run.json("show", "moved")["status"] == "running"
    run.json("signal", "moved", "add_note", '" at last"')
    assert run("result", "moved", "--timeout", "20").stdout == '"paid 5 at last"\n'


def test_a_group_is_created_and_settings_are_changed(run):
    """A group of chosen nodes is founded; settings are shown, changed for all, and shown changed by
    another command.
    """
    before = run.json("groups", "settings")
    assert before["group_size_target"] == 3
    run("groups", "settings", "balanced=0", "group_count_min=2")
    assert run.json("groups", "settings") == {**before, "balanced": 0, "group_count_min": 2}
    new = run.json("groups", "create", "2")
    assert new["members"] == [2]
    placed = run.json("groups", "list")["placements"][-1]
    assert (placed["group"], placed["members"]) == (new["group"], [2])
    lines = run("groups", "settings", "balanced=1").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(before)
    assert any(re.match("balanced +1  +0 or 1: whether", line) for line in lines)
    assert any(re.match("replace_after_seconds +300  +seconds: ", line) for line in lines)
    assert run.json("groups", "settings", "group_count_min=1") == before
    ended = run("groups", "drain", str(new["group"]), "--wait", "--timeout", "60")
    assert ended.exit_code == 0


def test_a_place_in_a_group(run):
    """A place is taken away and given again; each is no change the second time, or not possible."""
    assert run.json("members", "add", "2", "--group", "1")["changed"] is False
    gone = run("members", "remove", "2", "--group", "1", "--wait", "--timeout", "20")
    assert (gone.exit_code, gone.stdout) == (0, "node 2 has left group 1\n")
    again = run.json("members", "remove", "2", "--group", "1", code=4)
    assert again["message"] == "node 2 is not in group 1"
    assert run.json("members", "add", "2", "--group", "1") == {"node": 2, "changed": True}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("groups", "move", "1"), "--slots, --workflow or both"),
        (("groups", "move", "1", "--slots", "1-x"), "write 0-99,512"),
        (("groups", "move", "1", "--slots", "5-3"), "from 0 to 1023"),
        (("groups", "move", "1", "--slots", "1024"), "from 0 to 1023"),
        (("groups", "split"), "Missing argument"),
        (("groups", "create"), "Missing argument"),
        (("groups", "settings", "shared=yes"), "write NAME=NUMBER"),
        (("groups", "drain", "0"), "GROUP"),
        (("members", "remove", "x"), "NODE"),
        (("members", "fly"), "No such command"),
    ],
)
def test_wrong_usage_of_groups_is_code_2(command, arguments, text):
    """What is wrong is named before a node is asked: there is none here."""
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
    assert text in result.stderr


# -- leaving ------------------------------------------------------------------------------------


def test_a_node_leaves_when_it_is_stopped(start_node, make_commands):
    """With ``--leave`` SIGTERM takes a node out of the cluster: it ends with code 0, says so, the
    other goes on alone, and the directory is refused from then on. The last one cannot leave: it
    stops, with the code of the refusal.
    """
    staying = start_node("--bootstrap", "--data", "staying", "--leave")
    leaving = start_node("--join", staying.address, "--data", "leaving", "--leave")
    assert leaving.stop(signal.SIGTERM) == 0
    assert "node 2 has left the cluster for good" in leaving.log_text()
    run = make_commands(staying.address)
    assert [each["node"] for each in run.json("members", "list")["nodes"]] == [1]
    assert run("start", "ProcessOrder", ORDER, "--wait").exit_code == 0
    leaving.options = [*leaving.options, "--listen", leaving.address]
    with pytest.raises(RuntimeError, match=r"(?s)code 4.*start with an empty directory"):
        leaving.start()
    assert staying.stop(signal.SIGTERM) == Exit.REFUSED
    assert "node 1 is the last one: stop it instead" in staying.log_text()


def test_a_second_signal_ends_a_node_that_leaves(start_node):
    """One that cannot hand over, as the other is frozen, does not have to be waited for."""
    frozen = start_node("--bootstrap", "--data", "frozen")
    leaving = start_node("--join", frozen.address, "--data", "impatient", "--leave")
    frozen.send(signal.SIGSTOP)
    leaving.send(signal.SIGTERM)
    leaving.wait_log("another signal ends it at once")
    assert leaving.stop(signal.SIGTERM) == 0
    frozen.send(signal.SIGCONT)


# -- views --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "liveness", "reachable", "shown"),
    [
        ("member", "alive", True, "up"),
        ("", "", True, "up"),
        ("member", "alive", False, "unreachable"),
        ("member", "suspect", False, "suspect"),
        ("leaving", "alive", True, "leaving"),
        ("leaving", "dead", False, "leaving, dead"),
        ("joining", "alive", False, "joining, unreachable"),
    ],
)
def test_one_word_for_a_node(state, liveness, reachable, shown):
    """What is said against a node is shown, and what follows from it is not."""
    view = NodeView(1, "a:1", reachable, (), 0, state=state, liveness=liveness)
    assert node_state(view) == shown


def node(number, **changes):
    return NodeView(number, "a:1", reachable=True, workflows=(), runs_owned=0, **changes)


@pytest.mark.parametrize(
    ("voters", "said"),
    [
        ((1, 2, 3), ""),
        ((1, 2, 3, 4, 6), ""),
        ((1,), "is not fault tolerant: it has 1 voter, and needs 3 to go on without one"),
        ((1, 2), "is not fault tolerant: it has 2 voters, and needs 3 to go on without one"),
        ((1, 2, 4), "is not fault tolerant: of its 3 voters node 4 is silent; one more failure"),
        ((1, 2, 9), "is not fault tolerant: of its 3 voters node 9 was removed; one more failure"),
        ((1, 4, 5), "has lost its majority: of its 3 voters nodes 4, 5 are silent; it goes on"),
        ((1, 4), "has lost its majority: of its 2 voters node 4 is silent; it goes on"),
        ((1, 8, 9), "has lost its majority: of its 3 voters nodes 8, 9 were removed; it cannot"),
        (
            (1, 2, 4, 5, 9),
            "has lost its majority: of its 5 voters node 9 was removed and nodes 4, 5 are silent;",
        ),
        ((), "nobody could say"),
    ],
)
def test_a_group_is_warned_of_in_the_same_words_everywhere(voters, said):
    """Voters that are silent or gone count as little as those it never had, in what people and
    machines are told of a group and of its placement.
    """
    nodes = [node(1), node(2), node(3), node(6)]
    nodes += [node(4, liveness="suspect"), evolve(node(5, liveness="alive"), reachable=False)]
    told = GroupView(1, "", 1, 1, 5, 5, 5, voters, ())
    placed = PlacementView(1, "active", (1, 2, 3), (1, 2, 3) if voters else (), (), 1024, 0)
    view = ClusterView("c", 1, "0", tuple(nodes), (told,), 0, (placed,))
    lines = list(warnings(view))
    assert [said in line for line in lines] == ([True] if said else [])
    [group], [placement] = cluster(view)["groups"], groups(view)["placements"]
    assert group["fault_tolerant"] is placement["fault_tolerant"] is (not said)
    assert group["has_majority"] is placement["has_majority"] is ("not fault" in said or not said)
    for key in ("voters", "removed", "silent"):
        assert group[key] == placement[key]


def test_a_group_that_nobody_told_of_is_shown_as_unknown(capsys):
    """To people as question marks, to machines as null: its voters are those last reported."""
    placed = PlacementView(2, "active", (1,), (1,), (), 0, 0)
    owner = evolve(node(1), runs_owned=None)
    view = ClusterView("c", 1, "0", (owner,), (), None, (placed,))
    [group] = cluster(view)["groups"]
    assert (group["group"], group["voters"]) == (2, [1])
    assert {group[key] for key in ("term", "leader", "lags", "applied_index")} == {None}
    assert (cluster(view)["runs_open"], cluster(view)["nodes"][0]["runs_owned"]) == (None, None)
    print_cluster(Output(as_json=False), view)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["?", "runs", "open"] in lines
    assert ["1", "a:1", "up", "-", "-", "-", "?", "-"] in lines
    assert ["2", "-", "?", "?", "?", "?", "1", "?"] in lines


@pytest.mark.parametrize(
    ("state", "gone"), [("member", False), ("leaving", False), ("", False), ("removed", True)]
)
def test_who_is_out_at_once_is_not_said_to_be_leaving(state, gone):
    """A node that was silent is gone when it is removed, also where its voters still count it."""
    group = GroupView(0, "leader", 1, 1, 5, 5, 5, (1, 2), ())
    view = ClusterView("c", 1, "0", (node(1), node(2, state=state)), (group,), 0)
    assert is_gone(view, node=2) is gone
    assert is_gone(evolve(view, nodes=(node(1),)), node=2)


def test_every_setting_is_explained():
    """The table of settings says of each what it does."""
    assert list(MEANINGS) == [field.name for field in attrs.fields(Settings)]
