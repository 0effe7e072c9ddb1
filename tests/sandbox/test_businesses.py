"""Businesses, sharing, assignment and system users' tokens: the road of the shared pixel, and its refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.access import (
    ANNA,
    APP,
    APP_TOKEN,
    ASSIGNER,
    ASSIGNER_TOKEN,
    BEN,
    OTHER_PIXEL,
    OTHER_SHOP,
    PARTNER,
    SECOND_PIXEL,
    SECRET,
    SENDER,
    SHOP,
    SHOP_PIXEL,
    call,
    flb_url,
    log_in,
    proved,
)
from tests.sandbox.cast import error_of, make_event, proof_of, send
from tests.support.sandbox import SandboxClient

TASKS = '["ANALYZE","UPLOAD"]'


def names_of(response: Any) -> list[str]:
    return [item["name"] for item in response.json()["data"]]


def sender_token(meta: SandboxClient, **changes: Any) -> str:
    """Install the app on the sending system user and make its token."""
    call(meta, "POST", f"{SENDER}/applications", ASSIGNER_TOKEN, business_app=APP)
    params = proved(ASSIGNER_TOKEN) | {"business_app": APP, "scope": "ads_management"} | changes
    return str(call(meta, "POST", f"{SENDER}/access_tokens", **params).json()["access_token"])


def test_shared_pixel_is_seen_assigned_and_sent_to(meta: SandboxClient) -> None:
    anna = log_in(meta)
    shared = call(meta, "POST", f"{SHOP_PIXEL}/agencies", anna, business=PARTNER, permitted_tasks=TASKS)
    seen = call(
        meta,
        "GET",
        f"{PARTNER}/client_pixels",
        ASSIGNER_TOKEN,
        fields="id,name,permitted_tasks,owner_business",
    )
    token = sender_token(meta)
    before = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)
    assigned = call(
        meta, "POST", f"{SHOP_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks='["UPLOAD"]'
    )
    after = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)

    assert shared.json() == {"success": True}
    assert seen.json()["data"] == [
        {
            "id": SHOP_PIXEL,
            "name": "Web shop",
            "permitted_tasks": ["ANALYZE", "UPLOAD"],
            "owner_business": {"id": SHOP, "name": "Shop"},
        }
    ]
    assert error_of(before) == (400, 100, 33)
    assert assigned.json() == {"success": True}
    assert after.json()["events_received"] == 1
    own = call(meta, "GET", f"{SENDER}/assigned_ads_pixels", token, fields="id,tasks,permitted_tasks").json()
    assert own["data"] == [{"id": SHOP_PIXEL, "tasks": ["UPLOAD"], "permitted_tasks": ["ANALYZE", "UPLOAD"]}]


def test_withdrawn_sharing_closes_the_pixel(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    call(meta, "POST", f"{SHOP_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks="UPLOAD")
    token = sender_token(meta)
    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token).ok

    gone = call(meta, "DELETE", f"{SHOP_PIXEL}/agencies", log_in(meta), business=PARTNER)

    assert gone.json() == {"success": True}
    assert names_of(call(meta, "GET", f"{PARTNER}/client_pixels", ASSIGNER_TOKEN)) == []
    assert error_of(send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)) == (400, 100, 33)
    assert error_of(call(meta, "GET", SHOP_PIXEL, token)) == (400, 100, 33)


def test_offer_waits_where_the_business_holds_it(meta: SandboxClient) -> None:
    meta.set_business(PARTNER, holds_sharing=True)
    anna = log_in(meta)

    offered = call(
        meta, "POST", f"{SHOP_PIXEL}/agencies", anna, business=PARTNER, permitted_tasks=TASKS
    ).json()
    waiting = call(meta, "GET", f"{PARTNER}/received_sharing_agreements", ASSIGNER_TOKEN).json()["data"]

    assert offered["pending_request_id"] == waiting[0]["id"]
    assert (waiting[0]["request_status"], waiting[0]["initiator"]["name"]) == ("PENDING", "Shop")
    assert names_of(call(meta, "GET", f"{PARTNER}/client_pixels", ASSIGNER_TOKEN)) == []
    assert names_of(call(meta, "GET", f"{PARTNER}/pending_shared_pixels", ASSIGNER_TOKEN)) == ["Web shop"]
    meta.accept_sharing(SHOP_PIXEL, PARTNER)
    assert names_of(call(meta, "GET", f"{PARTNER}/client_pixels", ASSIGNER_TOKEN)) == ["Web shop"]
    assert names_of(call(meta, "GET", f"{PARTNER}/pending_shared_pixels", ASSIGNER_TOKEN)) == []
    assert names_of(call(meta, "GET", f"{SHOP_PIXEL}/agencies", anna)) == ["Datapartner"]


def test_offer_that_waits_gives_nothing(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER, pending=True)

    assert error_of(call(meta, "GET", SHOP_PIXEL, ASSIGNER_TOKEN)) == (400, 100, 33)
    response = call(meta, "POST", f"{SHOP_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks="UPLOAD")
    assert error_of(response) == (400, 100, 33)


def test_sending_wants_the_task_and_a_scope(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    call(meta, "POST", f"{SHOP_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks="UPLOAD")
    scoped = sender_token(meta)
    unscoped = sender_token(meta, scope="business_management")

    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=scoped).ok
    refused = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=unscoped)
    assert error_of(refused) == (400, 100, 33)
    call(meta, "POST", f"{SHOP_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks="ANALYZE")
    refused = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=scoped)
    assert error_of(refused) == (400, 100, 33)


def test_sharing_is_the_owners(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    params = {"business": OTHER_SHOP, "permitted_tasks": TASKS}
    anna, ben = log_in(meta), log_in(meta, person=BEN)

    assert error_of(call(meta, "POST", f"{SHOP_PIXEL}/agencies", ASSIGNER_TOKEN, **params)) == (
        400,
        200,
        None,
    )
    assert error_of(call(meta, "POST", f"{SHOP_PIXEL}/agencies", ben, **params)) == (400, 100, 33)
    assert error_of(call(meta, "POST", f"{OTHER_PIXEL}/agencies", anna, **params)) == (400, 100, 33)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"business": None}, (400, 100, None)),
        ({"business": "9"}, (400, 100, None)),
        ({"business": SHOP}, (400, 100, None)),
        ({"permitted_tasks": None}, (400, 100, None)),
        ({"permitted_tasks": '["EDIT","UPLOAD"]'}, (400, 100, 1752129)),
        ({"permitted_tasks": '["FLY"]'}, (400, 100, None)),
        ({"permitted_tasks": "["}, (400, 100, None)),
    ],
)
def test_sharing_wants_a_business_and_supported_tasks(
    meta: SandboxClient, changes: dict[str, Any], refusal: tuple[int, int, int | None]
) -> None:
    params = {"business": PARTNER, "permitted_tasks": TASKS} | changes

    response = call(meta, "POST", f"{SHOP_PIXEL}/agencies", log_in(meta), **params)

    assert error_of(response) == refusal
    assert meta.world()["pixels"][SHOP_PIXEL]["agencies"] == {}


def test_assignment_keeps_to_what_was_shared(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER, ["ANALYZE"])
    path = f"{SHOP_PIXEL}/assigned_users"

    beyond = call(meta, "POST", path, ASSIGNER_TOKEN, user=SENDER, tasks="UPLOAD")
    nobody = call(meta, "POST", path, ASSIGNER_TOKEN, user="9", tasks="ANALYZE")
    unshared = call(
        meta, "POST", f"{SECOND_PIXEL}/assigned_users", ASSIGNER_TOKEN, user=SENDER, tasks="ANALYZE"
    )

    assert error_of(beyond) == (400, 100, 1752129)
    assert error_of(nobody) == (400, 100, None)
    assert error_of(unshared) == (400, 100, 33)


def test_assigned_users_wants_a_business_to_read_and_may_refuse_one_to_write(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    path = f"{SHOP_PIXEL}/assigned_users"
    params = {"user": SENDER, "tasks": TASKS}
    assert error_of(call(meta, "GET", path, ASSIGNER_TOKEN)) == (400, 100, None)
    assert call(meta, "POST", path, ASSIGNER_TOKEN, business=PARTNER, **params).ok
    meta.set_settings(assigned_users_refuses_business=True)

    assert error_of(call(meta, "POST", path, ASSIGNER_TOKEN, business=PARTNER, **params)) == (400, 100, None)
    assert call(meta, "POST", path, ASSIGNER_TOKEN, **params).ok
    assert names_of(call(meta, "GET", path, ASSIGNER_TOKEN, business=PARTNER)) == ["Sender"]
    assert call(meta, "DELETE", path, ASSIGNER_TOKEN, user=SENDER).ok
    assert names_of(call(meta, "GET", path, ASSIGNER_TOKEN, business=PARTNER)) == []


def test_foreign_business_is_not_there(meta: SandboxClient) -> None:
    anna = log_in(meta)

    for path in (OTHER_SHOP, f"{OTHER_SHOP}/owned_pixels", f"{OTHER_SHOP}/system_users", OTHER_PIXEL):
        assert error_of(call(meta, "GET", path, anna)) == (400, 100, 33)
    assert error_of(call(meta, "GET", BEN, anna)) == (400, 100, 33)
    assert error_of(call(meta, "GET", "me", APP_TOKEN)) == (400, 100, 33)


def test_business_tells_how_far_it_is_verified(meta: SandboxClient) -> None:
    anna = log_in(meta)
    expected = {"id": SHOP, "name": "Shop", "verification_status": "pending"}

    assert call(meta, "GET", SHOP, anna, fields="name,verification_status").json() == expected
    listed = call(meta, "GET", "me/businesses", anna, fields="id,name,verification_status").json()
    assert listed["data"] == [expected]


def test_reading_businesses_wants_the_scope(meta: SandboxClient) -> None:
    anna = log_in(meta, decline=["business_management"])

    assert error_of(call(meta, "GET", "me/businesses", anna)) == (400, 200, None)
    assert error_of(call(meta, "GET", f"{SHOP}/system_users", anna)) == (400, 200, None)


def test_ads_pixels_are_filtered_and_sorted(meta: SandboxClient) -> None:
    anna, path = log_in(meta), f"{SHOP}/adspixels"

    assert names_of(call(meta, "GET", path, anna)) == ["Web shop", "Blog"]
    assert names_of(call(meta, "GET", path, anna, sort_by="NAME")) == ["Blog", "Web shop"]
    assert names_of(call(meta, "GET", path, anna, name_filter="web")) == ["Web shop"]
    assert names_of(call(meta, "GET", path, anna, id_filter=SECOND_PIXEL)) == ["Blog"]


def test_system_users_are_as_many_as_the_tier_allows(meta: SandboxClient) -> None:
    path = f"{PARTNER}/system_users"
    meta.set_app(APP, tier="limited")

    second = call(meta, "POST", path, ASSIGNER_TOKEN, name="Second")
    meta.set_app(APP, tier="full")
    made = call(meta, "POST", path, ASSIGNER_TOKEN, name="Second", role="EMPLOYEE").json()
    admin = call(meta, "POST", path, ASSIGNER_TOKEN, name="Boss", role="ADMIN")
    renamed = call(meta, "POST", path, ASSIGNER_TOKEN, system_user_id=made["id"], name="2nd")

    assert error_of(second) == (400, 100, None)
    assert error_of(admin) == (400, 100, None)
    assert renamed.json() == made
    assert names_of(call(meta, "GET", path, ASSIGNER_TOKEN)) == ["Assigner", "Sender", "2nd"]


def test_limited_tier_installs_no_app(meta: SandboxClient) -> None:
    meta.set_app(APP, tier="limited")

    response = call(meta, "POST", f"{SENDER}/applications", ASSIGNER_TOKEN, business_app=APP)

    assert error_of(response) == (400, 270, None)
    assert "development_access" in response.headers["x-business-use-case-usage"]


def test_system_users_token_wants_app_proof_and_known_scopes(meta: SandboxClient) -> None:
    path = f"{SENDER}/access_tokens"
    params = proved(ASSIGNER_TOKEN) | {"business_app": APP, "scope": "ads_management"}
    before = call(meta, "POST", path, **params)
    call(meta, "POST", f"{SENDER}/applications", ASSIGNER_TOKEN, business_app=APP)

    unproved = call(meta, "POST", path, **(params | {"appsecret_proof": None}))
    wrong = call(meta, "POST", path, **(params | {"appsecret_proof": proof_of("x", SECRET)}))
    unknown = call(meta, "POST", path, **(params | {"scope": "ads_managment"}))
    foreign = call(meta, "POST", path, **(params | {"business_app": "555"}))

    assert error_of(before) == (400, 100, None)
    assert error_of(unproved) == (400, 100, None)
    assert "require an appsecret_proof" in unproved.text
    assert "Invalid appsecret_proof" in wrong.text
    assert error_of(unknown) == (400, 3962, None)
    assert error_of(foreign) == (400, 100, None)
    assert call(meta, "POST", path, **params).ok


def test_business_may_want_its_tokens_to_end(meta: SandboxClient) -> None:
    meta.set_business(PARTNER, only_60_day_tokens=True)
    call(meta, "POST", f"{SENDER}/applications", ASSIGNER_TOKEN, business_app=APP)
    params = proved(ASSIGNER_TOKEN) | {"business_app": APP, "scope": "ads_management"}

    left_out = call(meta, "POST", f"{SENDER}/access_tokens", **params)
    false = call(
        meta, "POST", f"{SENDER}/access_tokens", **(params | {"set_token_expires_in_60_days": "false"})
    )

    assert error_of(left_out) == error_of(false) == (400, 100, None)
    token = sender_token(meta, set_token_expires_in_60_days="true")
    data = call(meta, "GET", "debug_token", APP_TOKEN, input_token=token).json()["data"]
    assert data["expires_at"] - data["issued_at"] == 60 * 86_400


def test_employee_manages_nothing(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    token = sender_token(meta, scope="ads_management,business_management")
    params = {"user": SENDER, "tasks": "UPLOAD"}

    assert error_of(call(meta, "POST", f"{SHOP_PIXEL}/assigned_users", token, **params)) == (400, 200, None)
    assert error_of(call(meta, "GET", f"{PARTNER}/system_users", token)) == (400, 200, None)


def test_clients_token_is_read_again_or_narrowed(meta: SandboxClient) -> None:
    token = log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL, SECOND_PIXEL])
    user_id = call(meta, "GET", "me", token).json()["id"]
    path, params = f"{SHOP}/system_user_access_tokens", proved(token) | {"system_user_id": user_id}

    again = call(meta, "POST", path, **params, fetch_only="true").json()["access_token"]
    narrow = call(meta, "POST", path, **params, scope="ads_read", asset=SHOP_PIXEL).json()["access_token"]
    wider = call(meta, "POST", path, **params, scope="ads_management")
    unproved = call(meta, "POST", path, token, fetch_only="true")

    assert again == token
    assert call(meta, "GET", SHOP_PIXEL, narrow).ok
    assert error_of(call(meta, "GET", SECOND_PIXEL, narrow)) == (400, 100, 33)
    assert error_of(wider) == (400, 200, None)
    assert error_of(unproved) == (400, 100, None)


def test_person_takes_scope_or_app_away(meta: SandboxClient) -> None:
    token = log_in(meta)

    assert call(meta, "DELETE", "me/permissions/ads_read", token).json() == {"success": True}
    listed = call(meta, "GET", "me/permissions", token).json()["data"]
    assert {"permission": "ads_read", "status": "declined"} in listed
    assert call(meta, "DELETE", f"{ANNA}/permissions", token).json() == {"success": True}
    assert error_of(call(meta, "GET", "me", token)) == (401, 190, 458)


def test_app_tells_name_and_reviewed_permissions(meta: SandboxClient) -> None:
    assert call(meta, "GET", "app", APP_TOKEN, fields="id,name").json() == {"id": APP, "name": "Demo Hub"}
    reviewed = call(meta, "GET", f"{APP}/permissions", APP_TOKEN).json()["data"]
    assert {"permission": "ads_read", "status": "unapproved"} in reviewed
    assert error_of(call(meta, "GET", f"{APP}/permissions", ASSIGNER_TOKEN)) == (400, 100, 33)
    assert error_of(call(meta, "GET", "555", APP_TOKEN)) == (400, 100, 33)


def test_plain_system_user_has_no_client_business(meta: SandboxClient) -> None:
    assert call(meta, "GET", "me", ASSIGNER_TOKEN).json() == {"id": ASSIGNER, "name": "Assigner"}
    response = call(meta, "GET", "me", ASSIGNER_TOKEN, fields="client_business_id")
    assert error_of(response) == (400, 100, None)


# Pages of lists.


def test_lists_come_in_pages(meta: SandboxClient) -> None:
    for number in range(5):
        meta.set_pixel(f"60{number}", name=f"P{number}", owner_business=PARTNER)
    meta.set_settings(page_size=2)
    found: list[str] = []
    after: dict[str, str] = {}
    pages = 0
    while pages < 9:
        page = call(meta, "GET", f"{PARTNER}/owned_pixels", ASSIGNER_TOKEN, limit="100", **after).json()
        found += [item["name"] for item in page["data"]]
        pages += 1
        if "next" not in page["paging"]:
            break
        assert f"access_token={ASSIGNER_TOKEN}" in page["paging"]["next"]
        after = {"after": page["paging"]["cursors"]["after"]}

    assert (pages, found) == (3, ["P0", "P1", "P2", "P3", "P4"])


def test_page_may_be_short_counted_and_empty_with_next(meta: SandboxClient) -> None:
    path = f"{SHOP}/owned_pixels"
    anna = log_in(meta)
    meta.add_knob("empty_page", endpoint="owned_pixels", count=1)

    empty = call(meta, "GET", path, anna).json()
    rest = call(meta, "GET", path, anna, after=empty["paging"]["cursors"]["after"], summary="total_count")
    short = call(meta, "GET", path, anna, limit="1").json()

    assert empty["data"] == []
    assert "next" in empty["paging"]
    assert names_of(rest) == ["Web shop", "Blog"]
    assert rest.json()["summary"] == {"total_count": 2}
    assert [item["name"] for item in short["data"]] == ["Web shop"]
    assert error_of(call(meta, "GET", path, anna, after="nonsense")) == (400, 100, None)
    assert error_of(call(meta, "GET", path, anna, limit="-1")) == (400, 100, None)


def test_unknown_field_is_named(meta: SandboxClient) -> None:
    response = call(meta, "GET", f"{SHOP}/owned_pixels", log_in(meta), fields="id,owner_business{id,vat}")

    assert "nonexisting field (vat)" in response.text


# Faults.


def test_fault_picks_endpoint_node_and_token(meta: SandboxClient) -> None:
    anna, ben = log_in(meta), log_in(meta, person=BEN)
    meta.add_knob("error", endpoint="me", token=anna, code=190, subcode=460)
    meta.add_knob("error", endpoint="owned_pixels", pixel_id=SHOP, code=80004, subcode=2446079)

    assert error_of(call(meta, "GET", "me", anna)) == (401, 190, 460)
    assert call(meta, "GET", "me", ben).ok
    assert error_of(call(meta, "GET", f"{SHOP}/owned_pixels", anna)) == (400, 80004, 2446079)
    assert call(meta, "GET", f"{SHOP}/client_pixels", anna).ok


def test_fault_picks_the_token_of_events_too(meta: SandboxClient) -> None:
    one, other = meta.generate_token(SHOP_PIXEL), meta.generate_token(SHOP_PIXEL)
    meta.add_knob("error", token=one, code=190, subcode=458)

    assert error_of(send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=one)) == (401, 190, 458)
    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=other).ok


def test_fault_prevents_the_act_unless_it_stores(meta: SandboxClient) -> None:
    path = f"{PARTNER}/system_users"
    meta.add_knob("error", endpoint="system_users", code=2, count=1)
    meta.add_knob("error", endpoint="system_users", code=2, count=1, store=True)

    before = call(meta, "POST", path, ASSIGNER_TOKEN, name="One")
    after = call(meta, "POST", path, ASSIGNER_TOKEN, name="Two")

    assert error_of(before) == error_of(after) == (400, 2, None)
    assert names_of(call(meta, "GET", path, ASSIGNER_TOKEN)) == ["Assigner", "Sender", "Two"]


def test_outage_is_everywhere_until_it_ends(meta: SandboxClient) -> None:
    anna = log_in(meta)
    outage = meta.start_outage()

    assert call(meta, "GET", "me", anna).status_code == 502
    assert call(meta, "GET", "debug_token", APP_TOKEN, input_token=anna).status_code == 502
    meta.remove_knob(outage)
    assert call(meta, "GET", "me", anna).ok


def test_calls_are_logged_by_the_names_of_their_parameters(meta: SandboxClient) -> None:
    anna = log_in(meta)
    call(meta, "GET", f"{SHOP}/owned_pixels", anna, limit="7")

    logged = meta.calls()
    assert (logged[0]["endpoint"], logged[0]["outcome"]) == ("owned_pixels", "ok")
    assert logged[0]["parameters"] == ["access_token", "limit"]
    assert len(meta.calls("oauth_access_token")) == 1
    assert anna not in str(logged)
