"""A node among others: who it is, whom it knows, how it finds who answers a request, what it does
for the cluster's plan. Below that, each with a folder: what lives on a group (``runs``), a group
(``group``), and what is said (``protocol``).
"""
