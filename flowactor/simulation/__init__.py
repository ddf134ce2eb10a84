"""A made-up world for flowactor: the production code of a whole cluster, and the workflows of its
users, run in it deterministically, while everything breaks that can.

Needs neither pytest nor Hypothesis; ``flowactor.testing`` has what uses them.
"""
