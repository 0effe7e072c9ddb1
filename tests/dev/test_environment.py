"""The local processes' environment: whole, readable by the product, and its secrets made once."""

from __future__ import annotations

from pathlib import Path

from partnerhub.dev.environment import local_environment, local_secrets
from partnerhub.dev.ports import PREFERRED, Ports
from partnerhub.dev.postgres import CHECKOUT, Server
from partnerhub.lib.config import Config, read_config

SERVER = Server({"host": "/somewhere/socket", "port": "5432", "user": "postgres"})


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    made = local_secrets(tmp_path)

    assert local_secrets(tmp_path) == made
    assert (tmp_path / "env.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["env.json"]


def test_two_checkouts_have_different_secrets(tmp_path: Path) -> None:
    assert local_secrets(tmp_path / "here") != local_secrets(tmp_path / "there")


def test_product_accepts_the_local_environment(tmp_path: Path) -> None:
    config = read_config(local_environment(tmp_path, SERVER, Ports(PREFERRED)))

    assert config.public_url == "http://127.0.0.1:8000"
    assert config.collector_url == "http://127.0.0.1:8001"
    assert config.graph_api_base_url == "http://127.0.0.1:8002"
    assert config.email_url.get_secret_value() == "smtp://127.0.0.1:8003"
    assert config.database_url_door.get_secret_value() == (
        "postgresql://partnerhub_door@/partnerhub?host=%2Fsomewhere%2Fsocket&port=5432"
    )


def example() -> dict[str, str]:
    lines = (CHECKOUT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_product_accepts_the_example() -> None:
    config = read_config(example())

    assert config.public_url == "https://hub.example"


def test_example_names_every_variable_without_a_default() -> None:
    required = {name.upper() for name, field in Config.model_fields.items() if field.is_required()}

    assert required <= example().keys() <= {name.upper() for name in Config.model_fields}
