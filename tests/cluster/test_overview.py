"""How the cluster looks, whichever node is asked."""

import flowactor as fa
from flowactor.cluster.protocol.requests import ListRuns, Request
from flowactor.identity import SessionId
from flowactor.management.operations import AddMember, CreateGroup
from tests.cluster.harness import cluster


@fa.workflow
class Sleeps:
    async def run(self) -> None:
        await fa.sleep_forever()


APP = fa.App([Sleeps])


async def test_every_node_tells_of_all_groups(tmp_path, autojump_clock):
    """Leaders, lags, the number of open runs, who owns them and who has which workflow are the same
    whoever is asked, also of groups that have no replica there; what the asked node alone knows is
    not more than its own groups.
    """
    async with cluster(tmp_path, APP) as c:
        for _ in range(2):
            await c.join(APP)
        topology = c.node(1).steward.topology
        await c.until(lambda: {1, 2} == {*topology.slots} and not topology.moves)
        for number in range(20):
            await c.client(1 + number % 5).start(Sleeps.run, id=f"run {number}")
        told = []
        for asked in c.running:
            view = await c.client(asked).cluster.view(everywhere=True)
            groups = [(g.group, g.leader, g.voters, g.runs, g.owned) for g in view.groups]
            lagging = [(g.group, g.by_leader, dict(g.lags).keys()) for g in view.groups]
            nodes = [(n.node, n.runs_owned, n.workflows) for n in view.nodes]
            told.append((view.runs_open, groups, lagging, nodes))
            assert [p.runs for p in view.placements] == [g.runs for g in view.groups[1:]]
        assert told == [told[0]] * 5
        runs_open, groups, lagging, nodes = told[0]
        assert runs_open == 20 == sum(runs for _, runs, _ in nodes)
        assert [workflows for _, _, workflows in nodes] == [("Sleeps v1",)] * 5
        assert [group for group, leader, *_ in groups if leader] == [0, 1, 2]
        assert all(by_leader and lags for _, by_leader, lags in lagging)
        alone = [len((await c.client(asked).status()).groups) for asked in c.running]
        assert 2 in alone, "some node has a replica of one of the groups only"


async def test_who_does_not_answer_is_told_as_unknown(tmp_path, autojump_clock):
    """A group whose only node is silent: its leader, its runs, and those of its node, are not said
    to be none, and the answer waits no longer than a second.
    """
    async with cluster(tmp_path, APP) as c:
        await c.client(1).manage(CreateGroup((3,)))
        topology = c.node(1).steward.topology
        await c.until(lambda: 2 in topology.reports)
        whole = await c.client(1).cluster.view(everywhere=True)
        assert [(group.group, group.leader) for group in whole.groups][2:] == [(2, 3)]
        c.isolate(3)
        view = await c.client(1).cluster.view(everywhere=True)
        assert [group.group for group in view.groups] == [0, 1]
        assert view.runs_open is None
        assert [node.runs_owned for node in view.nodes] == [0, 0, None]
        assert [placement.voters for placement in view.placements] == [(1, 2, 3), (3,)]


async def test_a_replica_that_was_told_nothing_says_so(tmp_path, autojump_clock):
    """The only voter of a group is cut off before it could say anything to the replica that is to
    stand by: that knows no members, and does not say that all of them are alive.
    """
    async with cluster(tmp_path, APP) as c:
        await c.client(1).manage(CreateGroup((3,)))
        topology = c.node(1).steward.topology
        await c.until(lambda: 2 in topology.reports)
        c.isolate(3)
        await c.client(1).manage(AddMember(2, 1))
        await c.until(lambda: 2 in c.node(1)._services())
        router = c.client(1)._caller._channel
        asked = Request(1, 5000, SessionId(""), 0, 0, ListRuns("", "", 0, 1), group=2)
        refused = await router.request(asked)
        assert "whose replica of group 2 is new, and has been told nothing yet" in refused.message
