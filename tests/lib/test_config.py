"""Settings from the environment: typed, explained where they are wrong, and all of them documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from partnerhub.lib.config import SECRETS, Config, ConfigurationError, read_config

CHECKOUT = Path(__file__).resolve().parents[2]
CANARY = "canary-3f9a1c"
GOOD = {
    "SECRET_KEY": f"{CANARY}-of-forty-characters-and-a-few-more",
    "DATABASE_URL_APP": f"postgresql://app:{CANARY}@db.example/hub",
    "DATABASE_URL_WORKER": "postgresql://worker@db.example/hub",
    "DATABASE_URL_DOOR": "postgres://door@db.example/hub",
    "PUBLIC_URL": "https://hub.example/",
    "COLLECTOR_URL": "https://events.hub.example",
}
# `NAME` | default | words |
DOCUMENTED = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| .+ \|$", re.MULTILINE)


def documented() -> dict[str, str]:
    found = DOCUMENTED.findall((CHECKOUT / "docs/configuration.md").read_text())
    assert len(found) == len(dict(found)), "a variable has two lines"
    return dict(found)


def example() -> dict[str, str]:
    lines = (CHECKOUT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def sentences(**changes: str | None) -> list[str]:
    environment = {name: value for name, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(ConfigurationError) as wrong:
        read_config(environment)
    # Nothing behind the error either, which a traceback would show.
    assert wrong.value.__cause__ is None
    assert CANARY not in str(wrong.value)
    return str(wrong.value).splitlines()


def test_a_good_environment_is_read_and_typed() -> None:
    config = read_config(GOOD | {"WORKER_THREADS": "3", "DEBUG": "true", "UNKNOWN": "x", "PATH": "/bin"})

    assert config.secret_key.get_secret_value() == GOOD["SECRET_KEY"]
    assert config.public_url == "https://hub.example"
    assert (config.worker_threads, config.debug, config.log_format) == (3, True, "json")
    assert config.database_url_owner is None


def test_secrets_do_not_show_themselves() -> None:
    config = read_config(GOOD | {"EMAIL_URL": f"smtp+tls://hub:{CANARY}@mail.example:587"})

    assert CANARY not in f"{config!r} {config} {config.model_dump()}"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_is_named(name: str) -> None:
    assert sentences(**{name: None}) == [f"{name} is not set."]


def test_every_fault_has_its_own_sentence() -> None:
    assert sentences(SECRET_KEY=None, PUBLIC_URL="hub", DEBUG="perhaps") == [
        "SECRET_KEY is not set.",
        "PUBLIC_URL: give an address such as https://hub.example.",
        "DEBUG: Input should be a valid boolean, unable to interpret input.",
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", CANARY, "give 32 characters or more"),
        ("DATABASE_URL_APP", f"mysql://app:{CANARY}@db", "give an address such as postgresql://"),
        ("DATABASE_URL_OWNER", CANARY, "give an address such as postgresql://"),
        ("COLLECTOR_URL", "ftp://events.hub.example", "give an address such as https://"),
        ("PUBLIC_URL", "http://[::1", "Invalid IPv6 URL"),
        ("GRAPH_API_BASE_URL", "http://graph.facebook.com", "give an address with https://"),
        ("GRAPH_API_BASE_URL", "graph.facebook.com", "give an address such as"),
        ("BROKER_URL", f"kafka://x:{CANARY}@host", "give pgmq://"),
        ("BROKER_PREFIX", "Shop A", "should match pattern"),
        ("EMAIL_URL", f"hub:{CANARY}@mail.example", "give an address such as smtp://"),
        ("EMAIL_URL", f"smtp://hub:{CANARY}@mail.example:no", "give an address such as smtp://"),
        ("METRICS_ADDRESS", "9464", "give a host and a port"),
        ("METRICS_ADDRESS", "localhost:99999", "give a host and a port"),
        ("METRICS_TOKEN", CANARY[:15], "give 16 characters or more"),
        ("METRICS_TOKEN", "", "give 16 characters or more"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel:4318", "give an address such as"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("COLLECTOR_QUEUE_EVENTS", "0", "greater than or equal to 1"),
        ("COLLECTOR_QUEUE_EVENTS", CANARY, "valid integer"),
        ("COLLECTOR_READ_SECONDS", "0", "greater than 0"),
        ("COLLECTOR_READ_SECONDS", "inf", "finite"),
        ("DELIVERY_STUCK_SECONDS", "nan", "finite"),
    ],
)
def test_a_bad_value_is_explained_and_not_repeated(name: str, value: str, words: str) -> None:
    (sentence,) = sentences(**{name: value})

    assert sentence.startswith(f"{name}: ")
    assert words in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(("lease", "passes"), [("30.5", True), ("30.4", False)])
def test_a_lease_outlasts_the_deadline(lease: str, passes: bool) -> None:
    if passes:
        assert read_config(GOOD | {"DELIVERY_LEASE_SECONDS": lease}).delivery_lease_seconds == 30.5
    else:
        assert sentences(DELIVERY_LEASE_SECONDS=lease) == [
            "DELIVERY_LEASE_SECONDS must be longer than DELIVERY_DEADLINE_SECONDS by 0.5 s or more."
        ]


def test_metrics_are_not_shown_beyond_this_host_without_a_token() -> None:
    assert sentences(METRICS_ADDRESS="0.0.0.0:9464") == [
        "METRICS_TOKEN is not set, and METRICS_ADDRESS is not on loopback: set one, or change it."
    ]

    given = read_config(GOOD | {"METRICS_ADDRESS": "[::]:9464", "METRICS_TOKEN": "a-token-of-prometheus"})
    assert given.metrics_endpoint == ("::", 9464)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8090", "http://localhost:8090", "http://[::1]:8090"])
def test_graph_may_be_plain_on_loopback(base_url: str) -> None:
    assert read_config(GOOD | {"GRAPH_API_BASE_URL": base_url}).graph_api_base_url == base_url


def test_secrets_are_those_that_hold_one() -> None:
    assert {
        "BROKER_URL",
        "DATABASE_URL_APP",
        "DATABASE_URL_DOOR",
        "DATABASE_URL_OWNER",
        "DATABASE_URL_WORKER",
        "EMAIL_URL",
        "METRICS_TOKEN",
        "SECRET_KEY",
        "VAULT_KEYS",
    } == SECRETS


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_may_lie_in_a_file(name: str, tmp_path: Path) -> None:
    values = GOOD | {
        "BROKER_URL": "redis://host",
        "DATABASE_URL_OWNER": "postgresql://owner@db.example/hub",
        "EMAIL_URL": "smtp://mail.example",
        "METRICS_TOKEN": "a-token-of-prometheus",
        "VAULT_KEYS": "first:AAAA",
    }
    (tmp_path / "secret").write_text(f"{values[name]}\n")
    environment = values | {f"{name}_FILE": str(tmp_path / "secret")}
    del environment[name]

    held = getattr(read_config(environment), name.lower())

    assert isinstance(held, SecretStr)
    assert held.get_secret_value() == values[name]


def test_the_variable_itself_wins_over_the_file() -> None:
    config = read_config(GOOD | {"SECRET_KEY_FILE": "/nowhere"})

    assert config.secret_key.get_secret_value() == GOOD["SECRET_KEY"]


def test_master_keys_in_two_places_are_refused_for_nobody_would_see_which_were_read(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"k1:{CANARY}")

    assert sentences(VAULT_KEYS=f"k2:{CANARY}", VAULT_KEYS_FILE=str(tmp_path / "keys")) == [
        "VAULT_KEYS and VAULT_KEYS_FILE are both set: give one of them."
    ]


def test_what_is_no_secret_is_not_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hub.example")

    assert sentences(PUBLIC_URL=None, PUBLIC_URL_FILE=str(tmp_path / "url")) == ["PUBLIC_URL is not set."]


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(CANARY.encode() + b"\xff")

    assert sentences(SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "missing")) == [
        "SECRET_KEY_FILE: the file cannot be read (No such file or directory)."
    ]
    assert sentences(SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "binary")) == [
        "SECRET_KEY_FILE: the file cannot be read (it is not text)."
    ]


def test_hosts_are_the_public_one_and_those_that_are_added() -> None:
    config = read_config(GOOD | {"ALLOWED_HOSTS": "www.hub.example, hub.internal ,"})

    assert config.hosts == ["hub.example", "hub.internal", "www.hub.example"]


def test_every_variable_has_its_line_in_the_documentation_and_no_line_lacks_one() -> None:
    assert set(documented()) == {name.upper() for name in Config.model_fields}


@pytest.mark.parametrize("name", sorted(Config.model_fields))
def test_the_documentation_has_the_default(name: str) -> None:
    field = Config.model_fields[name]
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if field.is_required():
        shown = "*required*"
    elif default is None or default == "":
        shown = "none"
    elif isinstance(default, bool):
        shown = f"`{str(default).lower()}`"
    else:
        shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"

    secret = ", secret" if name.upper() in SECRETS else ""
    assert documented()[name.upper()] == f"{shown}{secret}"


def test_the_example_can_be_used_and_names_no_other_variable() -> None:
    variables = example()

    assert variables.keys() <= documented().keys()
    assert read_config(variables).public_url == "https://hub.example"
