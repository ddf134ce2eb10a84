"""The management group's state machine."""
