"""The demo's mail: what comes by SMTP can be read, and can do nothing."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import requests

from tests.sandbox.cast import CALL_SECONDS
from tests.support.sandbox import SandboxClient, SandboxProcess

LINK = "http://127.0.0.1:8000/invitations/abc?x=1&y=2"


def deliver(process: SandboxProcess, *, to: str = "anna@shop.example", html: str | None = None) -> None:
    message = EmailMessage()
    message["From"] = "Datapartner <hello@datapartner.example>"
    message["To"] = to
    message["Subject"] = "Anna, schließe dein <Pixel> an"
    message.set_content(f"Hallo Anna,\n\nhier: {LINK}.\n<b>fett</b>")
    if html is not None:
        message.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", process.smtp_port, timeout=CALL_SECONDS) as smtp:
        smtp.send_message(message)


def test_mail_is_found_by_its_recipient(sandbox: SandboxClient, sandbox_process: SandboxProcess) -> None:
    deliver(sandbox_process)
    deliver(sandbox_process, to="ben@shop.example")

    (mail,) = sandbox.mail("Anna@shop.example")

    assert (mail.to, mail.sender) == (["anna@shop.example"], "Datapartner <hello@datapartner.example>")
    assert mail.subject == "Anna, schließe dein <Pixel> an"
    assert LINK in mail.text
    assert len(sandbox.mail()) == 2


def test_page_shows_a_mail_with_links_and_no_markup_of_its_own(
    sandbox: SandboxClient, sandbox_process: SandboxProcess
) -> None:
    deliver(sandbox_process)
    (mail,) = sandbox.mail()

    listed = requests.get(f"{sandbox.base_url}/sandbox/mail", timeout=CALL_SECONDS).text
    page = requests.get(f"{sandbox.base_url}/sandbox/mail/{mail.id}", timeout=CALL_SECONDS).text

    assert "Anna, schließe dein &lt;Pixel&gt; an" in listed
    escaped = LINK.replace("&", "&amp;")
    assert f'<a href="{escaped}">{escaped}</a>.' in page
    assert "&lt;b&gt;fett&lt;/b&gt;" in page


def test_a_mails_own_html_is_sandboxed(sandbox: SandboxClient, sandbox_process: SandboxProcess) -> None:
    deliver(sandbox_process, html="<p>Hallo</p><script>alert(1)</script>")
    (mail,) = sandbox.mail()

    response = requests.get(f"{sandbox.base_url}/sandbox/mail/{mail.id}/html", timeout=CALL_SECONDS)

    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'")
    assert "script" not in policy


def test_missing_mail_is_404(sandbox: SandboxClient) -> None:
    assert requests.get(f"{sandbox.base_url}/sandbox/mail/99", timeout=CALL_SECONDS).status_code == 404
