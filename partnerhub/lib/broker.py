"""The broker: how one URL becomes Celery's settings, and the queues' names.

Queues: `hints` (a pixel has work) and `jobs` (a person waits for the outcome: never behind a backlog of hints).
"""

HINTS = "hints"
JOBS = "jobs"
QUEUES = (HINTS, JOBS)
