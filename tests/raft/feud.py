"""Four voters, elections, and changes of one voter at a time, each of which reaches only some: this
is where the bug of 2015 lives ("bug in single-server membership changes", raft-dev, July 2015).

A story is a list of scenes. In each, one node does one thing, and only those present hear of it and
of what follows; between scenes everything that is under way is lost. Of an election only the votes
arrive: who hears from the new leader is a matter of the scenes after it.
"""

from collections.abc import Sequence
from random import Random

from attrs import evolve, frozen

from flowactor.raft import Role, Vote, VoteReply
from tests.raft.cluster import Cluster

__all__ = ["Feud", "Scene", "harm", "improvise", "simplest"]

NODES = (1, 2, 3, 4)
SCENES = 8


@frozen
class Scene:
    """What ``node`` does, to ``other`` if that takes one, among those ``present``."""

    node: int
    act: str
    other: int
    present: tuple[int, ...]


class Feud(Cluster):
    """Four nodes, led by node 1 at first."""

    def __init__(self) -> None:
        self.voting = False
        super().__init__(len(NODES))
        self.elect(1)

    def deliver(self, packet) -> None:
        if not self.voting or isinstance(packet.message, Vote | VoteReply):
            super().deliver(packet)

    def leads(self, node: int) -> bool:
        return self.status(node).role is Role.LEADER

    def play(self, scene: Scene) -> None:
        """Raises:
        AssertionError: an invariant is broken.
        """
        node, other, present = scene.node, scene.other, scene.present
        self.network.clear()
        self.heal()
        self.isolate(*present)
        if scene.act == "campaigns":
            self._campaigns(node, present)
            return
        if self.leads(node):
            now = self.status(node).configuration
            voters = tuple(voter for voter in now.voters if voter != other)
            learners = tuple(learner for learner in now.learners if learner != other)
            match scene.act:
                case "removes" if voters:
                    self.change(node, *voters, learners=(*learners, other))
                case "adds":
                    self.change(node, *voters, other, learners=learners)
                case "proposes":
                    self.propose(node, b"x")
        self.settle()
        self.tick(*present, times=2)

    def _campaigns(self, node: int, present: tuple[int, ...]) -> None:
        self.voting = True
        if self.leads(node):  # without an answer it leads no more
            self.tick(node, times=self.members[node].config.election_ticks_max)
        self.forget_leader(*[peer for peer in present if peer != node])
        for _ in range(2):  # the first time it may learn of a later term
            if not self.leads(node):
                self.campaign(node)
                self.settle()
        self.voting = False


def improvise(seed: int) -> tuple[list[Scene], str]:
    """A story by chance, and the harm that it ends with, if any."""
    random = Random(seed)
    feud, story = Feud(), []
    try:
        for _ in range(SCENES):
            story.append(_scene(random, feud))
            feud.play(story[-1])
    except AssertionError as error:
        return story, str(error)
    return story, ""


def _scene(random: Random, feud: Feud) -> Scene:
    leading = [node for node in NODES if feud.leads(node)]
    act = random.choices(("campaigns", "removes", "adds", "proposes"), (3, 3, 1, 1))[0]
    node = random.choice(NODES if act == "campaigns" or not leading else leading)
    others = [peer for peer in NODES if peer != node]
    present = {node, *random.sample(others, random.randint(0, len(others)))}
    return Scene(node, act, random.choice(others), tuple(sorted(present)))


def harm(story: Sequence[Scene]) -> str:
    """What a story ends with: the invariant that is broken, if any."""
    feud = Feud()
    try:
        for scene in story:
            feud.play(scene)
    except AssertionError as error:
        return str(error)
    return ""


def simplest(story: list[Scene]) -> list[Scene]:
    """A story that ends badly too, of which no scene and nobody present could be left out."""
    shorter = [story[:place] + story[place + 1 :] for place in range(len(story))]
    smaller = [
        [*story[:place], evolve(scene, present=present), *story[place + 1 :]]
        for place, scene in enumerate(story)
        for peer in scene.present
        if peer != scene.node
        for present in [tuple(one for one in scene.present if one != peer)]
    ]
    for simpler in [*shorter, *smaller]:
        if harm(simpler):
            return simplest(simpler)
    return story
