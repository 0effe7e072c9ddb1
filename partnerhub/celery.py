"""Celery: the muscle. Messages are hints that carry ids; PostgreSQL is the truth (docs/architecture.md).

One URL chooses the broker: pgmq:// (our own PostgreSQL), amqp:// (RabbitMQ, quorum queues) or redis://.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
os.environ.setdefault("PROCESS", "worker")

from celery import Celery  # noqa: E402  (the role is chosen first)

from partnerhub.lib.broker import celery_settings  # noqa: E402
from partnerhub.lib.config import config  # noqa: E402

app = Celery("partnerhub")
app.conf.update(celery_settings(config()))
app.autodiscover_tasks(["onboarding", "events"])
