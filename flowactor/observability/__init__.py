"""What a node tells people and tools about itself: typed events, and sinks that take them."""

from flowactor.observability.events import ObservedEvent, Observer, describe, ignore

__all__ = ["ObservedEvent", "Observer", "describe", "ignore"]
