"""What is said over the wires: by clients to nodes, by nodes to nodes, and what may be said at all."""
