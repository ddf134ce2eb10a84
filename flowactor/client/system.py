"""The real world's chance, for clients that are given none."""

import secrets

from flowactor.ports import Entropy

__all__ = ["SystemEntropy"]


class SystemEntropy(Entropy):
    """Entropy of the operating system."""

    def token_hex(self, size_bytes: int) -> str:
        return secrets.token_hex(size_bytes)

    def seed(self) -> int:
        return secrets.randbits(64)
