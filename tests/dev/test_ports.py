"""Ports: the usual ones where they are free, the same again, and never another's."""

from __future__ import annotations

import socket
from pathlib import Path

from partnerhub.dev.ports import HOST, STEP, claim_ports, last_ports

# Far from the ports of a demo that may run meanwhile, and below those that the kernel gives to clients.
USUAL = {"web": 21000, "collector": 21001}


def test_usual_ports_are_taken_where_they_are_free(tmp_path: Path) -> None:
    ports = claim_ports(tmp_path, USUAL)

    assert ports.numbers == USUAL
    assert ports.url("web") == f"http://{HOST}:21000"
    ports.release()


def test_port_that_somebody_listens_on_is_stepped_around(tmp_path: Path) -> None:
    with socket.create_server((HOST, USUAL["web"])):
        ports = claim_ports(tmp_path, USUAL)

    assert ports.numbers == {"web": USUAL["web"] + STEP, "collector": USUAL["collector"]}
    ports.release()


def test_checkouts_that_start_together_share_no_port(tmp_path: Path) -> None:
    here = claim_ports(tmp_path / "here", USUAL)
    there = claim_ports(tmp_path / "there", USUAL)

    assert here.numbers == USUAL
    assert there.numbers == {name: number + STEP for name, number in USUAL.items()}
    here.release()
    there.release()


def test_checkout_keeps_its_ports(tmp_path: Path) -> None:
    with socket.create_server((HOST, USUAL["web"])):
        claim_ports(tmp_path, USUAL).release()

    ports = claim_ports(tmp_path, USUAL)

    assert ports["web"] == USUAL["web"] + STEP
    assert last_ports(tmp_path)["web"] == USUAL["web"] + STEP
    ports.release()


def test_memory_that_is_no_json_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")

    ports = claim_ports(tmp_path, USUAL)

    assert ports.numbers == USUAL
    ports.release()


def test_port_that_served_a_moment_ago_is_free(tmp_path: Path) -> None:
    with socket.create_server((HOST, USUAL["web"])) as server:
        client = socket.create_connection((HOST, USUAL["web"]))
        served, _ = server.accept()
        # The server's side closes first, so that it is the one left in TIME_WAIT.
        served.close()
        client.close()

    ports = claim_ports(tmp_path, USUAL)

    assert ports["web"] == USUAL["web"]
    ports.release()
