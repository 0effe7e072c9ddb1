"""The local machine: an embedded PostgreSQL, a supervisor for the processes, the demo.

Nothing of the product imports this package; a deployment never runs it.
"""
