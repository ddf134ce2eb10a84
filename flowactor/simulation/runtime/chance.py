"""Chance from a seed: named streams that know nothing of each other."""

from random import Random
from typing import Final

from flowactor.ports import Entropy

__all__ = ["SeededEntropy", "stream"]


def stream(seed: int, name: str) -> Random:
    """A generator of its own for ``name``: drawing more from one stream leaves the others alone."""
    return Random(f"{seed}/{name}")  # a text is hashed the same way in every process


class SeededEntropy(Entropy):
    """``ports.Entropy`` from a generator."""

    def __init__(self, random: Random) -> None:
        self._random: Final = random

    def token_hex(self, size_bytes: int) -> str:
        """See ``ports.Entropy``."""
        return self._random.randbytes(size_bytes).hex()

    def seed(self) -> int:
        """See ``ports.Entropy``."""
        return self._random.getrandbits(64)
