"""What the processes count for Prometheus: the one list of metrics, and each process's file of its own counts.

METRICS_DIR names a folder of this host that all processes of an installation share; `events.exporter` reads it.
Without that setting each call here is one comparison, and prometheus-client is not imported. A label's values are
listed beside it, and none names a tenant: what is not on the list counts as `other`. No Django: the doors count, too.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from partnerhub.lib.config import config

Process = Literal["web", "collector", "worker", "beat", "operator"]
PROCESSES: Final = ("web", "collector", "worker", "beat", "operator")

OTHER: Final = "other"
# Of a request and of a commit: a door answers in milliseconds, and gives up at COLLECTOR_ANSWER_SECONDS.
QUICK: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Of a call of Graph's, up to DELIVERY_DEADLINE_SECONDS.
CALL: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
# From the door to Graph: a quarter of a second at half load, a week in an outage.
LAG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0)
EVENTS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)

LOCK: Final = ".lock"


@dataclass(eq=False)
class Family:
    """A metric: its name, what it says, and the values that each of its labels may have."""

    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # By label values; None while nothing is counted.
    children: dict[tuple[str, ...], Any] | None = field(default=None, repr=False, init=False)
    _parent: Any = field(default=None, repr=False, init=False)

    kind: ClassVar[str]
    # Where it stands in the list of all.
    all: ClassVar[list[Family]] = []

    def __post_init__(self) -> None:
        """Put it on the list."""
        Family.all.append(self)

    def begin(self) -> None:
        """Count from now on. A counter is there from its beginning, at 0, with every value of its labels."""
        self._parent, self.children = self._make(), {}
        if self.kind == "counter":
            for values in product(*(allowed for allowed in self.labels.values())):
                self.child(values)

    def child(self, values: tuple[str, ...]) -> Any:
        """prometheus-client's object for these label values, of which unknown ones are `other`."""
        assert self.children is not None
        if (found := self.children.get(values)) is None:
            known = tuple(
                value if value in allowed else OTHER
                for value, allowed in zip(values, self.labels.values(), strict=True)
            )
            found = self._parent.labels(*known) if known else self._parent
            if known == values:
                self.children[values] = found
        return found

    def _make(self) -> Any:
        raise NotImplementedError


class Counter(Family):
    """Only goes up."""

    kind = "counter"

    def add(self, *values: str, by: float = 1) -> None:
        """Count it, once or `by` times."""
        if self.children is not None:
            (self.children.get(values) or self.child(values)).inc(by)

    def _make(self) -> Any:
        import prometheus_client

        return prometheus_client.Counter(self.name, self.help, list(self.labels), registry=None)


@dataclass(eq=False)
class Histogram(Family):
    """How often up to how much."""

    buckets: tuple[float, ...] = QUICK

    kind = "histogram"

    def observe(self, amount: float, *values: str) -> None:
        """Count the amount."""
        if self.children is not None:
            (self.children.get(values) or self.child(values)).observe(amount)

    def _make(self) -> Any:
        import prometheus_client

        return prometheus_client.Histogram(
            self.name, self.help, list(self.labels), buckets=self.buckets, registry=None
        )


@dataclass(eq=False)
class Gauge(Family):
    """As it is now, in this process; `livesum` adds the living ones up, `mostrecent` outlives its process."""

    mode: Literal["livesum", "mostrecent"] = "livesum"

    kind = "gauge"

    def set(self, amount: float, *values: str) -> None:
        """It is so much now."""
        if self.children is not None:
            (self.children.get(values) or self.child(values)).set(amount)

    def add(self, by: float, *values: str) -> None:
        """It is so much more, or less."""
        if self.children is not None:
            (self.children.get(values) or self.child(values)).inc(by)

    def _make(self) -> Any:
        import prometheus_client

        return prometheus_client.Gauge(
            self.name, self.help, list(self.labels), multiprocess_mode=self.mode, registry=None
        )


class Reading(Family):
    """A gauge that no process keeps: the exporter reads it at a scrape (events.readings)."""

    kind = "gauge"

    def begin(self) -> None:
        """Nothing: it is not counted."""


# The doors.
DOOR_EVENTS: Final = Counter(
    "partnerhub_door_events_total",
    "Events that the doors answered 200 for, after their commit: stored, or repeats of what was stored before.",
    {"outcome": ("stored", "repeated", "clash")},
)
DOOR_REFUSALS: Final = Counter(
    "partnerhub_door_refusals_total",
    "Requests that the doors refused, by reason.",
    # The titles of events.refusals and events.payload.
    {
        "reason": (
            "invalid_parameter",
            "invalid_access_token",
            "unknown_pixel",
            "unknown_path",
            "unknown_api_version",
            "wrong_method",
            "body_too_large",
            "body_too_slow",
            "unsupported_encoding",
            "broken_encoding",
            "unsupported_content_type",
            "temporarily_unavailable",
            "not_stored",
            # Of an event, which is refused with its whole request.
            "unexpected_key",
            "missing_event_name",
            "missing_time",
            "event_time_in_the_future",
            "event_timestamp_too_old",
            "missing_user_data",
            "customer_information_missing_or_too_broad",
            "wrong_hash",
            "missing_currency",
            "missing_value_for_purchase_event",
            "missing_currency_for_purchase_event",
            OTHER,
        )
    },
)
DOOR_SECONDS: Final = Histogram(
    "partnerhub_door_seconds", "From a request's head to its answer, of requests that were taken in."
)
DOOR_GROUP_EVENTS: Final = Histogram(
    "partnerhub_door_group_events", "Events in one transaction of a door.", buckets=EVENTS
)
DOOR_COMMIT_SECONDS: Final = Histogram("partnerhub_door_commit_seconds", "One transaction of a door.")
DOOR_QUEUE_EVENTS: Final = Gauge(
    "partnerhub_door_queue_events",
    "Events that wait in the doors or are being written, as of the last group.",
)
DOOR_QUEUE_LIMIT: Final = Gauge(
    "partnerhub_door_queue_limit_events", "Events that may wait in the doors; past it they answer 503."
)
HINTS: Final = Counter(
    "partnerhub_hints_total",
    "Hints given to the broker: sent, or lost, which the sweep makes up for.",
    {"outcome": ("sent", "lost")},
)
# The workers.
CLAIMS: Final = Counter(
    "partnerhub_delivery_claims_total",
    "Looks for a pixel's next delivery: claimed, or why there was none.",
    {
        "outcome": (
            "claimed",
            "unknown",
            "not_due",
            "held",
            "unconnected",
            "busy",
            "slow",
            "ceiling",
            "app_limit",
            "outage",
            "damaged",
            "asleep",
            OTHER,
        )
    },
)
DELIVERIES: Final = Counter(
    "partnerhub_deliveries_total",
    "Attempts by what became of their delivery.",
    {"outcome": ("accepted", "waiting", "held", "doubt", "split", "rejected", "lease_lost")},
)
DELIVERED_EVENTS: Final = Counter("partnerhub_delivered_events_total", "Events that Meta accepted.")
REJECTED_EVENTS: Final = Counter(
    "partnerhub_rejected_events_total",
    "Events that will not be accepted, by reason.",
    {"reason": ("refused", "too_old", "clash", OTHER)},
)
DELIVERY_RETRIES: Final = Counter(
    "partnerhub_delivery_retries_total", "Attempts that were not their delivery's first."
)
DELIVERY_EVENTS: Final = Histogram(
    "partnerhub_delivery_events", "Events in one request to Graph.", buckets=EVENTS
)
DELIVERY_LAG: Final = Histogram(
    "partnerhub_delivery_lag_seconds",
    "From the door's commit to Graph's answer, of the oldest event of each accepted delivery.",
    buckets=LAG,
)
DELIVERY_SENDS: Final = Gauge("partnerhub_delivery_sends", "Requests to Graph that are on their way.")
WORKER_THREADS: Final = Gauge("partnerhub_worker_threads", "Sends that the workers can have on their way.")
GRAPH_SECONDS: Final = Histogram(
    "partnerhub_graph_seconds", "Sending events to Graph, whatever came back.", buckets=CALL
)
GRAPH_ANSWERS: Final = Counter(
    "partnerhub_graph_answers_total",
    "What came of sending events to Graph: accepted, or the class of failure.",
    {
        "outcome": (
            "accepted",
            "transient",
            "rate_limited",
            "credential",
            "permission",
            "refused",
            "too_old",
            "in_doubt",
            "unsent",
            OTHER,
        )
    },
)
LEASES_LOST: Final = Counter(
    "partnerhub_leases_lost_total",
    "Leases that ended before their delivery was settled: claimed and not sent, or sending and so in doubt.",
    {"found": ("claimed", "sending")},
)
SWEPT_PIXELS: Final = Counter(
    "partnerhub_sweep_pixels_total", "Pixels with work that nobody was at, which a sweep found."
)
# The books.
LEDGER_FINDINGS: Final = Gauge(
    "partnerhub_ledger_findings", "Findings of the last ledger check on this host.", mode="mostrecent"
)
LEDGER_CHECKED: Final = Gauge(
    "partnerhub_ledger_check_timestamp_seconds", "When that check ended, Unix time.", mode="mostrecent"
)
# The web site.
WEB_SECONDS: Final = Histogram(
    "partnerhub_web_seconds",
    "Requests to the web site, by the first digit of their status.",
    {"status": ("2xx", "3xx", "4xx", "5xx", OTHER)},
)
# Read at a scrape.
PROCESSES_ALIVE: Final = Reading(
    "partnerhub_processes", "Processes of this host that count.", {"process": PROCESSES}
)
DATABASE_UP: Final = Reading(
    "partnerhub_database_up", "1 where the exporter could read what follows from the database, else 0."
)
_WHY: Final = ("ready", "backing_off", "held")
WAITING_EVENTS: Final = Reading(
    "partnerhub_waiting_events",
    "Events that are to be sent: ready, or their pixel backs off as Graph asked, or is held until somebody mends it.",
    {"why": _WHY},
)
WAITING_SECONDS: Final = Reading(
    "partnerhub_waiting_oldest_seconds", "How long the longest waiting of these has waited.", {"why": _WHY}
)
IN_FLIGHT: Final = Reading("partnerhub_in_flight_events", "Events under a worker's lease.")
DOUBT_EVENTS: Final = Reading(
    "partnerhub_doubt_events",
    "Events in doubt: to be sent again by themselves, or kept for a person.",
    {"then": ("again", "kept")},
)
AWAKE_PIXELS: Final = Reading("partnerhub_awake_pixels", "Pixels whose log has work.")
HELD_PIXELS: Final = Reading(
    "partnerhub_held_pixels",
    "Pixels that deliver nothing until somebody mends what Meta refused.",
    {"hold": ("credential", "permission", "partner", OTHER)},
)
EXPIRED_LEASES: Final = Reading(
    "partnerhub_expired_leases", "Deliveries whose lease is over and that nobody took over yet."
)
CREDENTIALS: Final = Reading(
    "partnerhub_credentials",
    "Credentials in use, by state.",
    {"state": ("untested", "working", "refused", OTHER)},
)
EXPIRING_CREDENTIALS: Final = Reading(
    "partnerhub_credentials_expiring",
    "Credentials in use, by when they end, in days.",
    {"days": ("over", "1", "7", "30", "later", "never", "unknown")},
)
CONNECTION_TESTS: Final = Reading(
    "partnerhub_connection_tests",
    "Pixels by their latest connection test.",
    {"state": ("none", "waiting", "running", "passed", "failed", OTHER)},
)
LOG_DAYS_AHEAD: Final = Reading(
    "partnerhub_log_days_ahead", "Days after today whose partitions of the log are there, without a gap."
)
BROKER_MESSAGES: Final = Reading(
    "partnerhub_broker_messages",
    "Messages in a queue, where PostgreSQL is the broker; counted up to 100,000.",
    {"queue": ("hints", "jobs")},
)
BEAT_SECONDS: Final = Reading(
    "partnerhub_beat_age_seconds", "Since beat ticked last; absent where no beat is connected."
)
DATABASE_BYTES: Final = Reading("partnerhub_database_bytes", "The database's size on disk.")


@dataclass(slots=True)
class _Own:
    """This process's name among the files, and the lock that says that it lives."""

    process: Process | None = None
    pid: int = 0
    name: str = ""
    # Held until the process ends, however it ends.
    lock: int = -1


_own: Final = _Own()


def begin(process: Process) -> None:
    """Count from now on, where METRICS_DIR says where. A second call changes nothing. Raises OSError."""
    folder = config().metrics_dir
    if not folder or _own.process is not None:
        return
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    _own.process = process
    # Read by prometheus-client when it is imported, and then at each new file.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(_own_name)
    for family in Family.all:
        family.begin()


def _own_name() -> str:
    """This process's name; after a fork, another one.

    Not its number, which the next process may get, and which another container on the same folder has, too.
    """
    if _own.pid != os.getpid():
        _own.pid = os.getpid()
        # No underscore: prometheus-client takes the files' names apart there.
        _own.name = f"{_own.process}-{_own.pid}-{secrets.token_hex(4)}"
        _own.lock = _lock(Path(config().metrics_dir), _own.name)
    return _own.name


def _lock(folder: Path, name: str) -> int:
    draft = folder / f"{name}.draft"
    lock = os.open(draft, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Locked from the moment that it is seen: an unlocked one is a dead process's.
    draft.rename(folder / f"{name}{LOCK}")
    return lock
