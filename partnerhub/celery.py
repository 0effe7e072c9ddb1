"""Celery: the muscle. Messages are hints that carry ids; PostgreSQL is the truth (docs/delivery.md).

    python -m celery --app partnerhub worker
    python -m celery --app partnerhub beat --schedule /var/lib/partnerhub/beat

All that a worker needs is set in partnerhub.lib.broker; no flags are wanted.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
os.environ.setdefault("PROCESS", "worker")

import django
import structlog
from celery.signals import (
    after_task_publish,
    beat_init,
    import_modules,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_ready,
)

from partnerhub.lib import metrics, tracing
from partnerhub.lib.broker import make_app
from partnerhub.lib.config import ConfigurationError, config
from partnerhub.lib.pulse import Pulse

logger = structlog.get_logger(__name__)

try:
    app = make_app(config(), "worker", publishes_only=False)
except ConfigurationError as error:
    sys.exit(f"PartnerHub cannot start:\n{error}\nSee docs/configuration.md.")


@import_modules.connect(weak=False)
def _set_up(**_: Any) -> None:
    # The celery command takes BROKER_URL for an option of its own, and would have it overrule our settings.
    os.environ.pop("CELERY_BROKER_URL", None)
    # Before the tasks are imported, and with them the models.
    django.setup()
    from events.delivery.look import Look

    app.steps["worker"].add(Look)


# After the handler above, which it must follow.
app.autodiscover_tasks(["onboarding", "events"])


@setup_logging.connect(weak=False)
def _log_our_way(**_: Any) -> None:
    # Django's settings set logging up. Celery's lines for each task, and each tick, would drown the rest.
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.beat").addFilter(
        lambda record: not str(record.msg).startswith("Scheduler: Sending due task")
    )


@worker_init.connect(weak=False)
def _watch_worker(**_: Any) -> None:
    _be_watched("worker")
    metrics.WORKER_THREADS.set(config().worker_threads)


@beat_init.connect(weak=False)
def _watch_beat(**_: Any) -> None:
    _be_watched("beat")
    pulse = Pulse(config().database_url_worker.get_secret_value())
    # Beat does nothing but publish.
    after_task_publish.connect(lambda **_: pulse.beat(), weak=False)


@worker_ready.connect(weak=False)
def _look_at_graph(**_: Any) -> None:
    # Beside its work, which does not wait for it: Graph may be away, and is then tried again and again anyway.
    threading.Thread(target=_look_at_version, name="graph-version", daemon=True).start()


def _look_at_version() -> None:
    from partnerhub.lib.graph import graph_client
    from partnerhub.lib.graph.errors import GraphError

    wanted = config().graph_api_version
    try:
        spoken = graph_client().probe(deadline_seconds=config().delivery_deadline_seconds).version
    except GraphError as error:
        logger.warning("Graph does not answer", reason=str(error))
        return
    if spoken not in (wanted, None):
        logger.critical("Graph does not speak GRAPH_API_VERSION", wanted=wanted, spoken=spoken)


def _be_watched(process: metrics.Process) -> None:
    try:
        metrics.begin(process)
        tracing.begin(process)
    except (OSError, tracing.TracingError) as error:
        sys.exit(f"PartnerHub cannot start:\n{error}\nSee docs/monitoring.md.")


@task_prerun.connect(weak=False)
@task_postrun.connect(weak=False)
def _drop_broken_connections(**_: Any) -> None:
    from django.db import close_old_connections

    # One connection a thread is kept from task to task, unless it broke.
    close_old_connections()
