"""Core depth: everything that decides, on a heap of events.

Real here are the group and run actors with all they drive: Raft, the machine, the interpreters, the
sessions and proposals. Made up are what they stand on: links that carry messages as objects, logs
and rows in memory, clients. Nothing waits: a turn of an actor is a call. Only the bodies of steps
are tasks of Trio's, since they are the user's code and may use all of it; time in their event loop
is the heap's.
"""
