"""Conformance suites: what flowactor relies on in a port, as tests for whoever writes another.

Subclass a suite in a test module of your own, under a name that begins with ``Test``, and give it
the fixture it asks for::

    class TestMyTransport(TransportConformance):
        @pytest.fixture
        def world(self):
            return MyWorld()

Each test is one promise. flowactor's own transports and disks, real and simulated, are tested with
the same suites. They need pytest and pytest-trio (``pip install flowactor[testing]``).
"""

import pytest

pytest.register_assert_rewrite(
    "flowactor.testing.conformance.storage", "flowactor.testing.conformance.transport"
)

from flowactor.testing.conformance.storage import (  # noqa: E402  # rewritten as they are imported
    DiskConformance,
    LogStoreConformance,
    WorkerConformance,
    WorkerWorld,
)
from flowactor.testing.conformance.transport import (  # noqa: E402
    BackPressureConformance,
    GuardedTransportConformance,
    TransportConformance,
    TransportWorld,
)

__all__ = [
    "BackPressureConformance",
    "DiskConformance",
    "GuardedTransportConformance",
    "LogStoreConformance",
    "TransportConformance",
    "TransportWorld",
    "WorkerConformance",
    "WorkerWorld",
]
