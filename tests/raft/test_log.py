"""The log's window against a plain list."""

from random import Random

from flowactor.raft import Entry, EntryKind
from flowactor.raft.log import Log, size_bytes


def test_window_agrees_with_a_list():
    """Appending, cutting, shrinking, batching and searching agree with a list that keeps all."""
    for seed in range(40):
        random = Random(seed)
        log, kept, dropped = Log(0, 0, ()), [], 0
        for _ in range(120):
            term = kept[-1].term if kept else 1
            new = []
            for index in range(len(kept) + 1, len(kept) + 1 + random.randint(0, 4)):
                term += random.random() < 0.3
                new.append(Entry(term, index, EntryKind.PAYLOAD, b"x" * random.randint(0, 90)))
            log.append(new)
            kept += new
            if random.random() < 0.2 and len(kept) > dropped:
                first = random.randint(dropped + 1, len(kept))
                log.cut_from(first)
                del kept[first - 1 :]
            if random.random() < 0.2:
                log.shrink(log.bytes // 2, random.randint(dropped, len(kept)))
                dropped = log.previous_index
            agree(log, kept, dropped, random, seed)


def agree(log, kept, dropped, random, seed):
    window = kept[dropped:]
    assert (log.first_index, log.last_index) == (dropped + 1, len(kept)), seed
    assert log.bytes == sum(map(size_bytes, window)), seed
    assert log.between(log.first_index, log.last_index) == window, seed
    terms = [0] + [entry.term for entry in kept]
    assert log.last_term == terms[-1], seed
    assert all(log.term_at(index) == terms[index] for index in range(dropped, len(kept) + 1)), seed
    if window:
        first = random.randint(dropped + 1, len(kept))
        batch, size = log.batch(first, 200)
        assert batch == tuple(kept[first - 1 : first - 1 + len(batch)]), seed
        assert size == sum(map(size_bytes, batch)), seed
        assert len(batch) == 1 or size <= 200, seed
        rest = kept[first - 1 + len(batch) :]
        assert not rest or size + size_bytes(rest[0]) > 200, seed
    index, term = random.randint(dropped, len(kept) + 3), random.randint(0, terms[-1] + 1)
    fitting = [i for i in range(dropped, min(index, len(kept)) + 1) if terms[i] <= term]
    found = fitting[-1] if fitting else dropped
    assert log.last_not_above(index, term) == (found, terms[found]), seed
