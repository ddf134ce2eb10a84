"""What clients say to nodes and nodes to each other, and what may be said at all."""
