"""The product's settings, read once from the environment, typed, and explained when they are wrong.

Every variable is a field here and a line in docs/configuration.md (a test holds the two together). A secret
may also be given as NAME_FILE, the path of a file that holds it. This room knows no Django: the doors use it
too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator


class ConfigurationError(Exception):
    """The environment cannot be used; the text has one sentence for each fault and holds no secret."""


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("give an address such as https://hub.example")
    return value.rstrip("/")


def _graph_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ValueError("give an address with https://: access tokens go there")
    return value


def _secret_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SECRET_KEY_CHARACTERS:
        raise ValueError(f"give {SECRET_KEY_CHARACTERS} characters or more")
    return value


def _postgres_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("give an address such as postgresql://role:password@host/database")
    return value


def _broker_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("pgmq://", "amqp://", "amqps://", "redis://", "rediss://")):
        raise ValueError("give pgmq://, or an address such as amqp://host or redis://host")
    return value


def _email_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        is_usable = parts.scheme in ("smtp", "smtp+tls", "smtps") and parts.hostname and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(
            "give an address such as smtp://host:25, smtp+tls://name:password@host:587, smtps://host"
        )
    return value


def _http_url_or_none(value: str) -> str:
    return _http_url(value) if value else ""


def _metrics_token(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < METRICS_TOKEN_CHARACTERS:
        raise ValueError(f"give {METRICS_TOKEN_CHARACTERS} characters or more")
    return value


def _listen_address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("give a host and a port such as 127.0.0.1:9464")
    return value


# Between the end of a send and its settling: a busy process, a slow commit.
LEASE_SPARE_SECONDS = 0.5
# 256 random bits have 43 characters in base64; what is shorter than this, somebody made up.
SECRET_KEY_CHARACTERS = 32
# 96 random bits in base64, and nobody's word.
METRICS_TOKEN_CHARACTERS = 16
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

HttpUrl = Annotated[str, AfterValidator(_http_url)]
GraphUrl = Annotated[str, AfterValidator(_http_url), AfterValidator(_graph_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_broker_url)]
EmailUrl = Annotated[SecretStr, AfterValidator(_email_url)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Config(BaseModel):
    """What the environment says. Field names are the variables' names in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    secret_key: Annotated[SecretStr, AfterValidator(_secret_key)]
    # Which of the three it is, the vault says: the collector, which seals and opens nothing, needs none.
    vault_keys: SecretStr | None = None
    vault_keys_command: str = ""
    vault_key_service: str = ""
    database_url_app: PostgresUrl
    database_url_worker: PostgresUrl
    database_url_door: PostgresUrl
    database_url_owner: PostgresUrl | None = None
    public_url: HttpUrl
    collector_url: HttpUrl
    graph_api_base_url: GraphUrl = "https://graph.facebook.com"
    graph_api_version: str = "v26.0"
    broker_url: BrokerUrl = SecretStr("pgmq://")
    broker_prefix: Annotated[str, Field(pattern=r"^[a-z0-9_]*$", max_length=20)] = ""
    email_url: EmailUrl = SecretStr("smtp://localhost:25")
    default_from_email: str = "PartnerHub <partnerhub@localhost>"
    allowed_hosts: str = ""
    trusted_proxy: bool = False
    debug: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    # A folder of this host that all processes share; empty: nothing is counted.
    metrics_dir: str = ""
    metrics_address: ListenAddress = "127.0.0.1:9464"
    metrics_token: Annotated[SecretStr, AfterValidator(_metrics_token)] | None = None
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_http_url_or_none)] = ""

    # Ten seconds of a busy collector: who would wait longer than a client does is told 503 at once.
    collector_queue_events: Annotated[int, Field(ge=1)] = 50_000
    # Bodies between their first byte and the answer; parsed they take some four times as much.
    collector_queue_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    # A commit of so many takes 0.1 to 0.2 s, which is what a request of one event may wait behind it.
    collector_group_events: Annotated[int, Field(ge=1)] = 4_000
    # For a whole body: 8 MiB on a slow line. A server that drips one is cut off.
    collector_read_seconds: Seconds = 30.0
    # From the end of the body to the answer. Clients give up at 10 s or later; then a retry would go unheard.
    collector_answer_seconds: Seconds = 8.0
    # A send waits for Graph most of its time; past this one process's time goes into taking turns (the GIL).
    worker_threads: Annotated[int, Field(ge=1)] = 8
    # Of one send, whatever Graph does with it. Meta answers most calls in 600 ms; a time-out is a doubt.
    delivery_deadline_seconds: Seconds = 30.0
    # A dead worker's delivery waits so long. More than the deadline, or a slow send is taken for a dead one.
    delivery_lease_seconds: Seconds = 60.0
    # A worker without messages looks into the database so often: one index read.
    delivery_idle_seconds: Seconds = 2.0
    # How long work whose hint was lost waits, where beat runs.
    delivery_sweep_seconds: Seconds = 10.0
    # What is in doubt is sent again so often, and may count twice each time; then it is kept for a person.
    delivery_doubt_retries: Annotated[int, Field(ge=0)] = 2
    # A day's events are dropped after so many days, once all of them are settled; a partner may have its own number.
    log_retention_days: Annotated[int, Field(ge=1)] = 30
    # Work waits and this worker takes none: after so long it ends, to be started anew.
    delivery_stuck_seconds: Seconds = 120.0

    @model_validator(mode="after")
    def _lease_outlasts_deadline(self) -> Self:
        # Two workers would hold one delivery: the second while the first still waits for Graph.
        if self.delivery_lease_seconds < self.delivery_deadline_seconds + LEASE_SPARE_SECONDS:
            raise ValueError(
                "DELIVERY_LEASE_SECONDS must be longer than DELIVERY_DEADLINE_SECONDS"
                f" by {LEASE_SPARE_SECONDS:g} s or more"
            )
        return self

    @model_validator(mode="after")
    def _metrics_are_not_public(self) -> Self:
        if self.metrics_token is None and self.metrics_endpoint[0] not in _LOOPBACK:
            raise ValueError(
                "METRICS_TOKEN is not set, and METRICS_ADDRESS is not on loopback: set one, or change it"
            )
        return self

    @property
    def metrics_endpoint(self) -> tuple[str, int]:
        """Where the exporter listens: a host and a port."""
        host, _, port = self.metrics_address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def hosts(self) -> list[str]:
        """Host names that the web site answers to: ALLOWED_HOSTS, and the host of PUBLIC_URL."""
        own = urlsplit(self.public_url).hostname or ""
        return sorted({own, *(host.strip() for host in self.allowed_hosts.split(",") if host.strip())})


SECRETS = frozenset(
    name.upper()
    for name, field in Config.model_fields.items()
    if "Secret" in repr(field.annotation) or "Secret" in repr(field.metadata)
)


def read_config(environment: Mapping[str, str]) -> Config:
    """The settings that `environment` gives. Raises ConfigurationError with a sentence for each fault."""
    values: dict[str, str] = {}
    faults: list[str] = []
    unreadable: set[str] = set()
    for name in Config.model_fields:
        variable = name.upper()
        if (value := environment.get(variable)) is not None:
            values[name] = value
            if name == "vault_keys" and environment.get(f"{variable}_FILE"):
                # In a rotation nobody would see which of the two was changed.
                faults.append("VAULT_KEYS and VAULT_KEYS_FILE are both set: give one of them.")
        elif variable in SECRETS and (path := environment.get(f"{variable}_FILE")):
            try:
                values[name] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                # A decoding error's own text would hold what is in the file.
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                faults.append(f"{variable}_FILE: the file cannot be read ({reason}).")
                unreadable.add(variable)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            variable = str(fault["loc"][0]).upper() if fault["loc"] else ""
            if not variable:
                faults.append(f"{fault['msg'].removeprefix('Value error, ')}.")
            elif variable in unreadable:
                continue  # said already
            elif fault["type"] == "missing":
                faults.append(f"{variable} is not set.")
            else:
                faults.append(f"{variable}: {fault['msg'].removeprefix('Value error, ')}.")
        raise ConfigurationError("\n".join(faults)) from None
    if faults:
        raise ConfigurationError("\n".join(faults))
    return config


@functools.cache
def config() -> Config:
    """The settings of this process, read from its environment at the first call."""
    return read_config(os.environ)
