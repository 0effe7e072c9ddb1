"""The pages in a real browser: accessible, within the screen, and silent on the console."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from partnerhub.dev.chromium import ensure_chromium
from tests.sandbox.cast import PIXEL, make_event, send
from tests.support.sandbox import SandboxClient, SandboxProcess

PATHS = ("/", f"/sandbox/pixels/{PIXEL}", "/sandbox/mail", "/sandbox/mail/{mail_id}")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_pages_are_accessible_and_fit(
    sandbox: SandboxClient, sandbox_process: SandboxProcess, width: int, scheme: Literal["light", "dark"]
) -> None:
    event = make_event()
    send(sandbox, event, *(make_event() for _ in range(50)), partner_agent="datapartner")
    send(sandbox, event)
    send(sandbox, make_event(event_time=1))
    sandbox.add_knob("error", code=80004)
    message = EmailMessage()
    message["To"], message["From"] = "anna@shop.example", "hello@datapartner.example"
    message.set_content("See https://partnerhub.example/invitations/abc")
    with smtplib.SMTP("127.0.0.1", sandbox_process.smtp_port) as smtp:
        smtp.send_message(message)
    paths = [path.format(mail_id=sandbox.mail()[0].id) for path in PATHS]
    complaints: list[str] = []

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(ensure_chromium()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda line: complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path in paths:
            page.goto(sandbox.base_url + path)
            page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
            violations = Axe().run(page).response["violations"]
            complaints += [f"{path}: {item['id']} ({item['impact']})" for item in violations]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                complaints.append(f"{path}: wider than the screen")
        browser.close()

    assert complaints == []
