"""A cluster of whole nodes comes to rest, and everything fits together: the end of every run."""

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.healing import LOOK_NS, Healing
from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster
from flowactor.simulation.runtime import Runtime

__all__ = ["come_to_rest"]


async def come_to_rest(
    runtime: Runtime,
    nursery: trio.Nursery,
    cluster: Cluster,
    clients: Clients,
    judge: Judge,
    *,
    patience_seconds: float,
    horizon_seconds: float,
) -> Healing:
    """Wait until all is well, and a new client is served; then look at what there is.

    Args:
        runtime: of the run.
        nursery: for the new client.
        cluster: its faults are over.
        clients: who asked for something.
        judge: of the run.
        patience_seconds: see ``Healing``.
        horizon_seconds: see ``Healing``.

    Raises:
        CheckFailed: something is missing when the time is up, or does not fit.
    """
    time, probed = runtime.time, trio.Event()
    healing = Healing(
        cluster,
        clients,
        judge,
        time,
        patience_seconds=patience_seconds,
        horizon_seconds=horizon_seconds,
    )
    clients.probe(nursery, probed)
    while not (probed.is_set() and healing.is_over()):
        if time.now_ns >= healing.end_ns:
            raise healing.missing() or CheckFailed("I33", "a new client is not served")
        await trio.sleep(LOOK_NS / NANOSECONDS)
    healing.check()
    return healing
