"""The one door between a client and a node, whether in this process or across the network."""

from typing import Protocol

from flowactor.cluster.protocol.requests import Answer, Request

__all__ = ["Channel"]


class Channel(Protocol):
    """Carries one request to a node and its answer back. Many may be under way at once.

    A channel promises nothing about how often a request arrives: whatever must happen at most once
    carries a session and a sequence, and the state machine keeps that promise.
    """

    async def request(self, request: Request) -> Answer:
        """The node's answer, ``Rejected`` included, within about ``request.timeout_ms``.

        Raises:
            Unavailable: no node took the request; ``outcome_unknown`` is set if one may have.
            DeadlineExceeded: a node has it and did not answer in time.
            Refused: no node accepts this client.
            CallerError: the channel is closed.
        """
