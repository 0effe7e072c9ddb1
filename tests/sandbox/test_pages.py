"""The pages: they show what arrived, say that they are not Meta, and let nothing that arrived do anything."""

from __future__ import annotations

import pytest
import requests

from partnerhub.sandbox.charts import minutes_chart, nice_ceiling
from partnerhub.sandbox.markup import Html, html, linked
from tests.sandbox.cast import CALL_SECONDS, PIXEL, TOKEN, make_event, send
from tests.support.sandbox import SandboxClient


def page(sandbox: SandboxClient, path: str) -> requests.Response:
    return requests.get(f"{sandbox.base_url}{path}", timeout=CALL_SECONDS)


@pytest.mark.parametrize("path", ["/", f"/sandbox/pixels/{PIXEL}"])
def test_page_shows_what_arrived(sandbox: SandboxClient, path: str) -> None:
    events = [make_event() for _ in range(1234)]
    for start in (0, 617):
        send(sandbox, *events[start : start + 617], partner_agent="datapartner")
    send(sandbox, events[0])
    send(sandbox, make_event(event_time=1))

    text = page(sandbox, path).text

    assert "Not Meta." in text
    for shown in ("1,235", "1,234", "datapartner", "100/2804003", "Shop Example"):
        assert shown in text
    assert TOKEN not in text


@pytest.mark.parametrize("path", ["/", f"/sandbox/pixels/{PIXEL}"])
def test_page_escapes_what_arrived(sandbox: SandboxClient, path: str) -> None:
    evil = '"><script>alert(1)</script>'
    sandbox.put_pixel(PIXEL, name=evil, business_name=evil)
    event = make_event(event_name=evil, event_id=evil, custom_data={evil: evil})
    send(sandbox, event, event, partner_agent=evil, test_event_code=evil)
    requests.post(
        f"{sandbox.base_url}/v26.0/{PIXEL}/events?x=<script>",
        headers={"User-Agent": evil},
        timeout=CALL_SECONDS,
    )

    response = page(sandbox, path)

    assert "<script" not in response.text
    assert "script-src" not in response.headers["content-security-policy"]
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_page_refreshes_itself_only_when_asked(sandbox: SandboxClient) -> None:
    assert 'http-equiv="refresh"' not in page(sandbox, "/").text
    assert '<meta http-equiv="refresh" content="5">' in page(sandbox, "/?live=on").text


def test_set_faults_are_shown(sandbox: SandboxClient) -> None:
    sandbox.add_knob("error", code=80004, count=3)

    assert "error 80004" in page(sandbox, "/").text


def test_missing_pixel_is_404(sandbox: SandboxClient) -> None:
    assert page(sandbox, "/sandbox/pixels/9").status_code == 404


def test_whole_body_can_be_read(sandbox: SandboxClient) -> None:
    send(sandbox, make_event(event_id="<i>"))
    number = sandbox.received_requests()[0]["number"]

    response = page(sandbox, f"/sandbox/api/requests/{number}/body")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text.endswith('"access_token": "***"}')


def test_markup_escapes_all_but_html() -> None:
    assert html("<p>$a$b</p>", a="<&\"'", b=Html("<br>")) == "<p>&lt;&amp;&quot;&#x27;<br></p>"


def test_only_web_addresses_become_links() -> None:
    assert linked("javascript:alert(1) https://a.example/?b=1&c=2, x") == (
        'javascript:alert(1) <a href="https://a.example/?b=1&amp;c=2">https://a.example/?b=1&amp;c=2</a>, x'
    )


@pytest.mark.parametrize(("highest", "ceiling"), [(1, 1), (2, 2), (3, 5), (10, 10), (11, 20), (501, 1000)])
def test_chart_ends_at_a_round_number(highest: int, ceiling: int) -> None:
    assert nice_ceiling(highest) == ceiling


def test_chart_draws_the_last_hour_only() -> None:
    chart = minutes_chart({100: 7, 40: 9}, now=100 * 60 + 30)

    assert chart.count("<rect") == 60
    assert "01:40 UTC: 7 events" in chart
    assert 'aria-label="7 events in the last hour, by minute"' in chart
