"""A mutant: flowactor with one bug, made by replacing a few lines of it."""

from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["CHANGING", "DISKS", "QUARRELING", "RESHAPING", "WHOLE", "Edit", "Mutant", "Rotted"]

CHANGING: Final = "clusters that change"
"""In place of the name of a scenario: those drawn for whole nodes, which come and go."""
RESHAPING: Final = "voters that change"
"""The same at core depth, where it changes who votes."""
QUARRELING: Final = "leaders that quarrel"
"""The same about two leaders, of which each takes a vote away."""
DISKS: Final = "disks that fail"
"""The same of whole nodes whose disks fail, fill up and rot, and whose power is cut."""
WHOLE: Final = (CHANGING, DISKS)
"""What is played with whole nodes, and takes its time."""


class Rotted(AssertionError):
    """The code that a mutant changes is not there any more: the mutant has to be mended."""


@frozen
class Edit:
    """``old``, which ``file`` of the package holds exactly once, becomes ``new``."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Change the file below ``package``.

        Raises:
            Rotted: the old text is not there exactly once.
        """
        path = package / self.file
        text = path.read_text()
        if (times := text.count(self.old)) != 1:
            raise Rotted(f"{self.file} holds {times} times, not once:\n{self.old}")
        path.write_text(text.replace(self.old, self.new))


@frozen
class Mutant:
    """One bug.

    Attributes:
        name: of the bug.
        rule: that it breaks, of the rules of Raft, storage and ownership.
        story: what goes wrong because of it.
        edits: that make it; none: this is flowactor as it is.
        by_hash_seed: what it does depends on the process: runs of one seed are compared over two.
        scenario: of ``simulations/scenarios``, which its seeds play: luck is not enough for it; or
            what is drawn for it: ``CHANGING``, ``RESHAPING``, ``QUARRELING`` or ``DISKS``.
        mark: a place that it keeps every run from: that a campaign never gets there gives it away.
        test: of ``tests``, as pytest names it, which fails: no seed of a fair budget comes there.
    """

    name: str
    rule: str
    story: str
    edits: tuple[Edit, ...]
    by_hash_seed: bool = False
    mark: str = ""
    scenario: str = ""
    test: str = ""
