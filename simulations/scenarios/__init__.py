"""The stories, one to a module. Each has its text as docstring, and a ``STORY``."""
