"""Whether the cost model of ``docs/scalability.md`` is true: whole clusters, up to 50 nodes and 30
groups, in a made-up world that counts what they do. ``python -m simulations.scale`` runs it.
"""
