"""One Raft group on a node: its actor, its log and its state, what it sends and receives; and the
groups of a node, as they open and close. What a group decides is in ``raft``, ``machine`` and
``management``.
"""
