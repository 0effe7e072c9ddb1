"""The stand-in as a process: it starts, stops at once, keeps apart from the product, and stays small."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import requests

from tests.sandbox.cast import PIXEL, TOKEN, make_event, send
from tests.support.sandbox import CHECKOUT, SandboxProcess

IDLE_MEBIBYTES = 60


def test_sigterm_ends_it_at_once_though_a_client_waits() -> None:
    process = SandboxProcess().start()
    process.client.put_pixel(PIXEL)
    process.client.put_token(TOKEN, pixels=[PIXEL])
    process.client.add_knob("timeout", store=True)

    def wait_in_vain() -> None:
        with suppress(requests.RequestException):
            send(process.client, make_event())

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    while not process.client.account(PIXEL)["injected"]:
        time.sleep(0.01)
    started = time.monotonic()
    exit_code = process.stop()

    assert exit_code == 0
    assert time.monotonic() - started < 1.0
    waiting.join()


def test_it_is_small_when_idle() -> None:
    with SandboxProcess() as process:
        status = Path(f"/proc/{process.pid}/status").read_text()

    resident_kib = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kib < IDLE_MEBIBYTES * 1024


def test_it_imports_nothing_of_the_product() -> None:
    code = (
        "import sys, partnerhub.sandbox.app, partnerhub.sandbox.__main__\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in "
        "('django', 'celery', 'tenants', 'onboarding', 'events') or "
        "(name.startswith('partnerhub.') and not name.startswith('partnerhub.sandbox'))))"
    )

    output = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )

    assert output.stdout.strip() == "[]"


def test_taken_port_is_said_in_a_sentence() -> None:
    with SandboxProcess() as process:
        second = subprocess.run(
            [sys.executable, "-m", "partnerhub.sandbox", "--port", str(process.port)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert second.returncode == 1
    assert second.stderr == f"sandbox: cannot listen on 127.0.0.1:{process.port}: Address already in use.\n"


def test_it_ends_while_an_app_still_thinks_about_a_webhook() -> None:
    process = SandboxProcess().start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/hook"
        process.client.set_app("900100", secret="s", webhook_url=url)
        process.client.send_webhook("900100", "business_integration_update", business_id="1", wait=False)
        connection, _ = silent.accept()

        assert process.stop() == 0

        connection.close()


def test_health_is_told() -> None:
    with SandboxProcess() as process:
        response = requests.get(f"{process.base_url}/healthz", timeout=5)

    assert response.json() == {"status": "ok"}
