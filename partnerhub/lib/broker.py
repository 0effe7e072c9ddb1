"""The broker: how one URL becomes Celery's settings, and the queues' names. No Django: doors publish, too.

`pgmq://` is our own PostgreSQL, spoken to as the role of the process; `amqp://` is RabbitMQ with quorum
queues; `redis://` is Redis or Valkey. Whichever it is carries hints only: small JSON messages of a task's
name and ids, which may be lost, doubled or forged (docs/delivery.md).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from celery import Celery
from celery.schedules import crontab
from kombu import Exchange, Queue

from partnerhub.lib.config import Config

Process = Literal["web", "worker", "operator", "door"]

HINTS: Final = "hints"
JOBS: Final = "jobs"
# A pixel has work; and: a person waits for the outcome, or the clock asks. Those stand behind no backlog.
QUEUES: Final = (HINTS, JOBS)

# By task name: the modules of the tasks are not imported where hints are sent.
_QUEUE_OF_TASKS: Final = {"events.deliver": HINTS, "*": JOBS}

# Workers that are all busy sending come to a tick late, and it must not have expired each time.
EXPIRE_AFTER_TICKS: Final = 6

# Until a broker that does not answer counts as away. Whoever publishes does it from a thread of its own.
CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 5


def queue_name(settings: Config, queue: str) -> str:
    """The name of one of QUEUES at the broker: with BROKER_PREFIX, so that many can share one broker."""
    return f"{settings.broker_prefix}{queue}"


def role_address(settings: Config, process: Process) -> str:
    """The libpq address of the role of this kind of process. Raises ValueError without an owner's."""
    address = {
        "web": settings.database_url_app,
        "worker": settings.database_url_worker,
        "operator": settings.database_url_owner,
        "door": settings.database_url_door,
    }[process]
    if address is None:
        raise ValueError("DATABASE_URL_OWNER is not set.")
    return address.get_secret_value()


def make_app(settings: Config, process: Process, *, publishes_only: bool) -> Celery:
    """Celery as the settings want it, without tasks: enough to publish by name.

    Who only publishes gives up on a silent broker; a worker's line is silent by nature. Without Celery's Django
    fix-up, which would close the thread's database connection after every task.
    """
    app = Celery(
        "partnerhub",
        fixups=[],
        set_as_current=not publishes_only,
        task_cls="partnerhub.lib.consumer:IdTask",
    )
    app.conf.update(celery_settings(settings, process, publishes_only=publishes_only))
    return app


def celery_settings(settings: Config, process: Process, *, publishes_only: bool) -> dict[str, Any]:
    """Celery's settings in the words of its documentation."""
    return {
        **_transport(settings, process, publishes_only=publishes_only),
        "broker_connection_timeout": CONNECT_SECONDS,
        # Without end: a worker without a broker looks for work by itself (events.delivery.look).
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # JSON only: a forged message is text, never code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_queues": [_queue(settings, name) for name in QUEUES],
        "task_default_queue": queue_name(settings, JOBS),
        "task_create_missing_queues": False,
        "task_routes": {
            task: {"queue": queue_name(settings, name)} for task, name in _QUEUE_OF_TASKS.items()
        },
        # The rows hold what came of it.
        "task_ignore_result": True,
        "task_publish_retry": False,
        # Taken off the queue when a task starts. A hint that dies with its worker is found by the sweep; one
        # that is kept until the end would be delivered twice wherever a send outlasts the broker's patience.
        "task_acks_late": False,
        "worker_consumer": "partnerhub.lib.consumer:Consumer",
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_threads,
        # One message a thread is taken ahead: what a busy worker holds, an idle one cannot take.
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Only says what to do with tasks that are acknowledged late: there are none.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "timezone": "UTC",
        "beat_schedule": _schedule(settings),
    }


def _queue(settings: Config, name: str) -> Queue:
    full_name = queue_name(settings, name)
    # RabbitMQ's replicated queues; the others know no arguments.
    arguments = {"x-queue-type": "quorum"} if _scheme(settings).startswith("amqp") else None
    return Queue(
        full_name,
        Exchange(full_name, type="direct"),
        routing_key=full_name,
        queue_arguments=arguments,
    )


def _scheme(settings: Config) -> str:
    return urlsplit(settings.broker_url.get_secret_value()).scheme


def _transport(settings: Config, process: Process, *, publishes_only: bool) -> dict[str, Any]:
    scheme = _scheme(settings)
    # One try: while the next would wait, hints are better dropped.
    options: dict[str, Any] = {"max_retries": 0} if publishes_only else {}
    if scheme == "pgmq":
        return {
            # The address is not in the URL, for kombu prints URLs.
            "broker_url": "pgmq://database",
            "broker_transport": "partnerhub.lib.postgres_queue:Transport",
            "broker_transport_options": {**options, "address": role_address(settings, process)},
        }
    if scheme.startswith("redis"):
        options |= {
            "global_keyprefix": f"{settings.broker_prefix or 'partnerhub'}:",
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
        }
        if publishes_only:
            options["socket_timeout"] = ANSWER_SECONDS
    elif publishes_only:
        options |= {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}
    return {"broker_url": settings.broker_url.get_secret_value(), "broker_transport_options": options}


def _schedule(settings: Config) -> dict[str, dict[str, Any]]:
    sweep = timedelta(seconds=settings.delivery_sweep_seconds)

    def every(schedule: timedelta | crontab, task: str, expires: timedelta) -> dict[str, Any]:
        # After an hour without workers a few ticks are done, and the rest is dropped unread.
        return {"task": task, "schedule": schedule, "options": {"expires": expires.total_seconds()}}

    return {
        "sweep deliveries": every(sweep, "events.sweep", EXPIRE_AFTER_TICKS * sweep),
        "sweep replays and erasures": every(sweep, "events.sweep_jobs", EXPIRE_AFTER_TICKS * sweep),
        "sweep connection tests": every(sweep, "onboarding.sweep", EXPIRE_AFTER_TICKS * sweep),
        "ask for daily tests": every(timedelta(minutes=1), "onboarding.schedule_tests", timedelta(minutes=6)),
        # The daily looks at tokens, spread over the day; a lost tick is the next one's.
        "guard tokens": every(timedelta(minutes=1), "onboarding.guard", timedelta(minutes=6)),
        "tell people of tokens": every(timedelta(minutes=1), "events.tell_people", timedelta(minutes=6)),
        # For App Review's page; one pass over a day's attempts.
        "count calls": every(timedelta(minutes=10), "events.count_calls", timedelta(minutes=10)),
        # Also made when a worker starts; a week ahead, so that a day without beat harms nobody.
        "bring forward": every(
            timedelta(minutes=1), "events.bring_forward", EXPIRE_AFTER_TICKS * timedelta(minutes=1)
        ),
        "drop old days": every(crontab(hour="3", minute="37"), "events.drop_old_days", timedelta(hours=20)),
        # Each advertiser's once a day, after midnight; the other hours take up what was left.
        "check the books": every(crontab(minute="17"), "events.check_books", timedelta(hours=1)),
        "make partitions": every(
            crontab(hour="*/6", minute="7"), "events.make_partitions", timedelta(hours=6)
        ),
    }
