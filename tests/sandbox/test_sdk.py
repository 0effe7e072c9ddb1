"""Meta's own python SDK, pointed at the stand-in, is content with it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from tests.sandbox.cast import APP_ID, APP_SECRET, JOHN_HASH, PIXEL, TOKEN
from tests.support.sandbox import SandboxClient


@pytest.fixture
def sdk(sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxClient]:
    monkeypatch.setattr(FacebookSession, "GRAPH", sandbox.base_url)
    FacebookAdsApi.init(app_id=APP_ID, app_secret=APP_SECRET, access_token=TOKEN, crash_log=False)
    yield sandbox
    FacebookAdsApi.set_default_api(None)


def make_purchase(event_time: int) -> Event:
    return Event(
        event_name="Purchase",
        event_time=event_time,
        event_id="order-7781",
        action_source=ActionSource.WEBSITE,
        event_source_url="https://shop.example/thanks",
        user_data=UserData(email=" John_Smith@gmail.com ", client_user_agent="Mozilla/5.0"),
        custom_data=CustomData(value=42.5, currency="EUR"),
    )


def test_sdk_sends_and_reads_the_answer(sdk: SandboxClient) -> None:
    events = [make_purchase(int(time.time()))]

    response = EventRequest(pixel_id=PIXEL, events=events, partner_agent="datapartner").execute()

    assert (response.events_received, response.messages) == (1, [])
    (stored,) = sdk.stored(PIXEL)
    assert (stored.event_name, stored.event_id, stored.partner_agent) == (
        "Purchase",
        "order-7781",
        "datapartner",
    )
    (kept,) = sdk.received_requests(PIXEL)
    assert response.fbtrace_id == kept["fbtrace_id"]
    assert JOHN_HASH in kept["body"]
    assert dict(kept["headers"])["user-agent"].startswith("fbbizsdk-python-v")
    assert kept["query"] == "access_token=***&appsecret_proof=***"


def test_sdk_raises_what_the_stand_in_refuses(sdk: SandboxClient) -> None:
    request = EventRequest(pixel_id=PIXEL, events=[make_purchase(1579645238)])

    with pytest.raises(FacebookRequestError) as raised:
        request.execute()

    assert (raised.value.api_error_code(), raised.value.api_error_subcode()) == (100, 2804003)
    assert sdk.account(PIXEL)["events"] == 0
