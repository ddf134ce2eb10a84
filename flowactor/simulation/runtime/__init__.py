"""One Trio run in a made-up world: virtual time, chance from a seed, an order of tasks that can be
repeated, processes that can be stopped, and no way out to the real world.

::

    trio.run -- asks for the order of a batch --> Schedule   (scheduling)
             -- asks how long to sleep ---------> Timeline   (agenda): leaps there, never sleeps
             -- tells of runnable tasks --------> Processes  (processes): holds those of the stopped

``simulate`` (running) puts these together. Duties of whoever uses it: all chance comes from
``Runtime.random``; faults strike from ``Timeline.at``, when no task is half-way through a batch;
nothing that is written down depends on ``id``, ``hash`` or the order of a set.
"""

from flowactor.simulation.runtime.agenda import Timeline
from flowactor.simulation.runtime.chance import SeededEntropy, stream
from flowactor.simulation.runtime.clock import EPOCH_NS, NodeClock
from flowactor.simulation.runtime.memory import collected_at_its_end
from flowactor.simulation.runtime.processes import Processes
from flowactor.simulation.runtime.running import Limits, Runtime, simulate

__all__ = [
    "EPOCH_NS",
    "Limits",
    "NodeClock",
    "Processes",
    "Runtime",
    "SeededEntropy",
    "Timeline",
    "collected_at_its_end",
    "simulate",
    "stream",
]
