"""Who may take part in a cluster that is being founded, and in one that was."""

from itertools import combinations

import pytest
from attrs import evolve

from flowactor.cluster.founding import Founding, found
from flowactor.transport import PEER, Hello

ADDRESSES = ("a:1", "b:1", "c:1")
FIVE = ("a:1", "b:1", "c:1", "d:1", "e:1")


class Founder:
    """One founder: what it keeps, and the process that it is now."""

    def __init__(self, number, disk, addresses=ADDRESSES):
        self.membership = found(addresses[number - 1], addresses, disk)
        self.kept = {}
        self.full = False
        self.start()

    def start(self):
        membership = self.membership
        if self.kept:
            membership = evolve(membership, disks=dict(self.kept))
        self.founding = Founding(membership, self.keep)

    def keep(self, disks):
        if not self.full:
            self.kept.update(disks)
        return not self.full

    @property
    def takes_part(self):
        return self.founding.done.done

    def hello(self):
        return Hello(
            node=self.membership.node,
            role=PEER,
            disk=self.membership.disk,
            founding=self.founding.digest,
        )


def meet(a, b):
    """Two founders greet each other, as a link does; the refusals."""
    from_a, from_b = a.hello(), b.hello()
    refusals = a.founding.meet(from_b), b.founding.meet(from_a)
    if refusals == (None, None):
        a.founding.greeted(from_b)
        b.founding.greeted(from_a)
    return refusals


@pytest.fixture
def founders():
    return [Founder(number, f"disk{number}") for number in (1, 2, 3)]


def test_nobody_takes_part_before_it_has_met_all(founders):
    """Two of three are a majority, and still found nothing; with the third they do."""
    a, b, c = founders
    assert meet(a, b) == (None, None)
    assert not a.takes_part
    assert meet(a, c) == (None, None)
    assert (a.takes_part, b.takes_part, c.takes_part) == (True, False, False)
    assert meet(b, c) == (None, None)
    assert b.takes_part
    assert c.takes_part
    assert a.kept == b.kept == c.kept == {1: "disk1", 2: "disk2", 3: "disk3"}


def test_a_founder_that_restarts_remembers(founders):
    """Whom it met before it was founded is forgotten; what it was founded with is not."""
    a, b, c = founders
    meet(a, b)
    a.start()
    meet(a, c)
    assert not a.takes_part
    meet(a, b)
    assert a.takes_part
    a.start()
    assert a.takes_part


def test_a_lost_directory_is_refused_by_all_for_ever(founders):
    """Also by one that has not a single entry of the log."""
    a, b, c = founders
    for pair in ((a, b), (a, c), (b, c)):
        meet(*pair)
    wiped = Founder(2, "other")
    for knows in (a, c):
        refusal, _ = meet(knows, wiped)
        assert "another data directory" in refusal
    assert not wiped.takes_part
    for knows in (a, c):
        knows.start()
        assert meet(knows, wiped)[0]


def test_two_lost_directories_found_nothing(founders):
    """Two that have forgotten everything need the third, and it refuses both."""
    a, b, c = founders
    for pair in ((a, b), (a, c), (b, c)):
        meet(*pair)
    first, second = Founder(1, "x"), Founder(2, "y")
    assert meet(first, second) == (None, None)
    assert meet(c, first)[0]
    assert meet(c, second)[0]
    assert not first.takes_part
    assert not second.takes_part


def test_a_directory_lost_in_the_midst_of_the_founding(founders):
    """Node 3 is founded with a directory of node 2 that is then lost. Node 1, which restarts and
    meets the new one first, learns from node 3 that there was another, and does not take part.
    """
    a, b, c = founders
    for pair in ((a, b), (b, c), (a, c)):
        meet(*pair)
    a.kept.clear()  # it crashed before that was durable
    a.start()
    assert not a.takes_part
    wiped = Founder(2, "other")
    assert meet(a, wiped) == (None, None)
    meet(a, c)
    assert not a.takes_part
    a.start()
    meet(a, c)
    meet(a, wiped)
    assert not a.takes_part


@pytest.fixture
def late():
    """Five of which the first three have met all, and the fourth has not met the fifth."""
    five = [Founder(number, f"disk{number}", FIVE) for number in (1, 2, 3, 4, 5)]
    for a, b in combinations(five, 2):
        if (a, b) != (five[3], five[4]):
            meet(a, b)
    assert [founder.takes_part for founder in five] == [True, True, True, False, False]
    return five


def tell(teller, founder):
    """What a node that waits to take part is told when it looks out."""
    founder.founding.told(teller.membership.node, dict(teller.kept))


def test_a_founder_that_comes_too_late_to_meet_all(late):
    """It takes part once more than half of the others do so and know it; from then on it refuses
    whoever comes with another directory in the place of the one that it never met.
    """
    *taking_part, fourth, _ = late
    for known, founder in enumerate(taking_part):
        assert not fourth.takes_part
        tell(founder, fourth)
        tell(founder, fourth)  # it asks again and again
        assert fourth.takes_part is (known == 2)
    assert fourth.kept == taking_part[0].kept
    assert fourth.founding.digest == taking_part[0].founding.digest
    assert "another data directory" in meet(fourth, Founder(5, "other", FIVE))[0]
    fourth.start()
    assert fourth.takes_part


def test_who_waits_itself_tells_nothing(late):
    """A founder that has not met all knows no directory for good."""
    first, second, _, fourth, fifth = late
    for founder in (first, second, fifth):
        tell(founder, fourth)
    assert not fourth.takes_part


def test_a_lost_directory_is_not_let_in_by_being_told(late):
    """What the others know is the one that it had."""
    *taking_part, _, _ = late
    wiped = Founder(4, "other", FIVE)
    for founder in taking_part:
        tell(founder, wiped)
    assert not wiped.takes_part


def test_a_late_founder_follows_most_of_the_others(late):
    """After a restart it meets the fifth with another directory than those who take part know, and
    learns better.
    """
    *taking_part, fourth, _ = late
    fourth.start()
    meet(fourth, Founder(5, "other", FIVE))
    for founder in taking_part:
        meet(fourth, founder)
    assert not fourth.takes_part
    for founder in taking_part:
        tell(founder, fourth)
    assert fourth.kept == taking_part[0].kept
    assert all(meet(fourth, founder) == (None, None) for founder in taking_part)


def test_those_who_know_different_directories_do_not_add_up(late):
    """Of three that take part one knows another fifth."""
    first, second, third, fourth, _ = late
    third.kept[5] = "other"
    for founder in (first, second, third):
        tell(founder, fourth)
    assert not fourth.takes_part


def test_a_founder_of_one_needs_nobody():
    """A cluster of one is founded by being there."""
    kept = {}

    def keep(disks):
        kept.update(disks)
        return True

    founding = Founding(found("a:1", (), "disk"), keep)
    assert founding.done.done
    assert kept == {1: "disk"}


def test_what_cannot_be_kept_founds_nothing(founders):
    """Without space for the directories nobody takes part; it is tried again."""
    a, b, c = founders
    a.full = True
    meet(a, b), meet(a, c)
    assert not a.takes_part
    assert a.kept == {}
    a.full = False
    a.founding.look()
    assert a.takes_part
    assert a.kept == {1: "disk1", 2: "disk2", 3: "disk3"}


def test_who_is_refused_has_met_nobody(founders):
    """Two lost directories, and a member that knows of them and of one that has left: it cannot say
    with which ones the cluster was founded any more, and refuses both. They found no twin.
    """
    a, b, c = founders
    for pair in ((a, b), (a, c), (b, c)):
        meet(*pair)
    del b.kept[3]
    b.start()
    assert b.hello().founding == ""
    first, third = Founder(1, "x"), Founder(3, "y")
    assert meet(first, third) == (None, None)
    assert meet(first, b)[1]
    b.founding.learn({3: "disk3"})
    assert meet(third, b)[1]
    assert not first.takes_part
    assert not third.takes_part


def test_a_founder_restarts_when_another_has_left(founders):
    """Once the cluster is founded, a founder starts without the others, also when one of them is
    of the cluster no more, and those that are left let it in.
    """
    a, b, c = founders
    meet(a, b), meet(a, c), meet(b, c)
    for founder in (a, b):
        del founder.kept[3]
    a.start()
    assert a.takes_part
    assert meet(a, b) == (None, None)
    b.start()
    assert meet(a, b) == (None, None)


def test_a_cluster_of_one_is_another_one_with_another_directory():
    """The same command line on an empty directory founds no twin of the cluster that was founded
    before; founders of several agree on theirs, whatever their directories.
    """
    lone = [found("a:1", peers, disk).cluster for peers in ((), ("a:1",)) for disk in ("x", "y")]
    assert len(set(lone)) == 2
    assert lone[:2] == lone[2:]
    assert len({found(own, ADDRESSES, own).cluster for own in ADDRESSES}) == 1


def test_one_of_several_founders_founds_no_twin(founders):
    """With an empty directory it takes no part whomever it meets, before and after the others have
    been restarted, and also if it meets nobody.
    """
    a, b, c = founders
    for pair in ((a, b), (a, c), (b, c)):
        meet(*pair)
    twin = Founder(1, "other")
    assert twin.membership.cluster == a.membership.cluster
    assert not twin.takes_part
    for knows in (b, c):
        knows.start()
        assert meet(knows, twin)[0]
        assert not twin.takes_part
    twin.start()
    assert not twin.takes_part
