"""What lives on an execution group at a node: runs and steps, watched variables, who watches over
owners, slots on their way, and the service to clients.
"""
