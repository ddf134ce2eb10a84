"""flowactor's own transports keep what every transport promises. A new one joins by a line in
``conftest.World``.
"""

import pytest

from flowactor.testing.conformance import (
    BackPressureConformance,
    GuardedTransportConformance,
    TransportConformance,
)
from tests.transport.conftest import World


class TestTransports(TransportConformance, GuardedTransportConformance):
    """In memory, WebSockets over streams in memory, and WebSockets over TCP."""

    @pytest.fixture(params=["memory", "streams", "tcp"])
    def world(self, request):
        return World(request.param)


class TestBackPressure(BackPressureConformance):
    """Streams in memory take whatever comes; the others fill up."""

    @pytest.fixture(params=["memory", "tcp"])
    def world(self, request):
        return World(request.param)
