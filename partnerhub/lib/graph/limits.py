"""Meta's numbers: versions, limits and codes. Each stands here once, with its source.

Sources are pages of developers.facebook.com, named by their titles, read 2026-11-24 unless said otherwise.
"""

from __future__ import annotations

from typing import Final

# Version → the day on which Graph ends it, where it is announced ("Graph API Changelog").
VERSIONS: Final[dict[str, str | None]] = {
    "v21.0": "2027-01-21",
    "v22.0": "2027-05-20",
    "v23.0": "2027-10-08",
    "v24.0": "2028-02-18",
    "v25.0": "2028-07-29",
    "v26.0": None,
}

# "Using the API": up to 1,000 events in `data`.
EVENTS_PER_REQUEST: Final = 1_000

# "Using the API": up to 7 days before it is sent, else the whole request is refused (100/2804003).
AGE_LIMIT_SECONDS: Final = 7 * 86_400
# "Offline events" (2026-01-05): `physical_store` within 62 days.
PHYSICAL_STORE_AGE_SECONDS: Final = 62 * 86_400
# We stop an hour before Meta does, so that one event's age cannot spoil a request on its way.
AGE_MARGIN_SECONDS: Final = 3_600
# Meta refuses the future (100/2804004, reported) and documents no tolerance; a clock may be a minute off.
FUTURE_TOLERANCE_SECONDS: Final = 60

# "Handling Duplicate Pixel and Conversions API Events" (2023-01-25): counted from the first event with the
# id.
DEDUPLICATION_SECONDS: Final = 48 * 3_600

# "Troubleshooting" (2023-11-30) suggests 1,500 ms for a call; we give that to connecting, and a batch longer.
CONNECT_SECONDS: Final = 1.5
# Ours: Graph's answers to what we ask are a few KiB.
ANSWER_BYTES: Final = 1 << 20

# "Handling Errors": the answer's id for Meta's support, in the body and in this header; it expires soon.
TRACE_HEADER: Final = "x-fb-trace-id"
# Meta's own Python SDK (26.0.3, `api.py`) calls a 200 with this text a failure.
UNAVAILABLE_TEXT: Final = b"Service Unavailable"
# "Conversions API, ads pixel events" reference: the keys of a success. Any of them is the envelope's mark.
EVENTS_ANSWER_KEYS: Final = frozenset({"events_received", "messages", "fbtrace_id"})

# "Handling Errors", "Error Reference", "Rate Limits": code → what it means for us. Numbers decide, not texts.
# Every number from here on has words in errors.toml, and the other way round: a test holds the two together.
# A fault, downtime, unknown. No rule asks for these: what is in no other set is taken to pass.
FAULT_CODES: Final = frozenset({1, 2, 5000})
INVALID_PARAMETER_CODE: Final = 100
# 1 with subcode 99 is a bad request and not a fault of Meta's.
BAD_REQUEST: Final = (1, 99)
# A duplicate post; a scope that does not exist ("System User Access Tokens", 2025-05-28).
REFUSED_CODES: Final = frozenset({506, 3962})
# The app's, the person's or the Page's limit: every pixel behind the app waits.
APP_LIMIT_CODES: Final = frozenset({4, 17, 32, 341})
# "Marketing API Rate Limiting": limits of one account or use case.
PIXEL_LIMIT_CODES: Final = frozenset({613, *range(80_000, 80_015)})
CREDENTIAL_CODES: Final = frozenset({102, 104, 190, 452})
# The version is withdrawn: no event's fault and nobody's but ours.
VERSION_CODES: Final = frozenset({12, 2635})
# Capability, approval, permission (10, 200 … 299), policy block (368). 803, an unknown id, is one of these
# and not "refused": it speaks of the pixel in the address, and splitting the batch would throw away all its
# events.
PERMISSION_CODES: Final = frozenset({3, 10, 294, 368, 803, *range(200, 300), *VERSION_CODES})
# The type of a 100 that speaks of the call and not of its content.
NOT_THE_CONTENT_TYPE: Final = "GraphMethodException"

# Subcodes of 100 that a code exchange answers with ("Manually Build a Login Flow", 2026-03-10; reported): the
# code is too old, its redirect_uri is another than the dialog's, it was used before.
CODE_EXPIRED_SUBCODE: Final = 36_007
REDIRECT_MISMATCH_SUBCODE: Final = 36_008
CODE_USED_SUBCODE: Final = 36_009
# Where pixels are shared and assigned ("Handling Errors"): these tasks cannot be given together.
TASKS_SUBCODE: Final = 1_752_129

# Subcodes of 100 about events. Meta publishes no list of these: all that was reported lies in EVENT_SUBCODES,
# and an unknown one is refused.
EVENT_SUBCODES: Final = range(2_804_000, 2_805_000)
# Reported for adsmurai's capi-client (2023-11): "Click ID Incorrectly Formatted".
CLICK_ID_SUBCODE: Final = 2_804_001
# Reported by rudder-transformer and seen live 2026-09-05: "Event Timestamp Too Old".
TOO_OLD_SUBCODE: Final = 2_804_003
# Reported 2026: an event_time in the future.
FUTURE_SUBCODE: Final = 2_804_004
# Reported by rudder-transformer and seen live 2026-09-03: "Missing Value for Purchase Event".
PURCHASE_VALUE_SUBCODE: Final = 2_804_009
# Reported for adsmurai's capi-client (2023-11): "Missing Currency for Purchase Event".
PURCHASE_CURRENCY_SUBCODE: Final = 2_804_010
# facebook-java-business-sdk#421 (2023-05): "User Parameter Not Hashed".
NOT_HASHED_SUBCODE: Final = 2_804_016
# Seen in tests of Meta's partners: "Server Side Api Parameter Error", a missing or an unexpected key.
KEY_SUBCODE: Final = 2_804_019
# Reported: `value` without `currency`.
CURRENCY_SUBCODE: Final = 2_804_023
# Reported twice: the lead is unknown or deleted.
LEAD_ID_SUBCODE: Final = 2_804_036
# Reported twice (2026): "Invalid extended device info".
EXTINFO_SUBCODE: Final = 2_804_043
# "Best Practices" has the rule, many reported the number: who the person is is missing or too broad.
TOO_BROAD_SUBCODE: Final = 2_804_050
# Reported twice (2026-07): the event's name is not allowed for business messaging.
MESSAGING_NAME_SUBCODE: Final = 2_804_066
# Reported: "Missing messaging channel".
MESSAGING_CHANNEL_SUBCODE: Final = 2_804_063
# Seen live 2026-09-23 and reported: ids of the Page, the Instagram or WhatsApp account, or the click are
# missing or wrong.
MESSAGING_IDS_SUBCODES: Final = frozenset({2_804_069, 2_804_079, 2_804_087, 2_804_116})
# Reported 2026: the WhatsApp Business account and the dataset do not belong together.
WHATSAPP_LINK_SUBCODES: Final = frozenset({2_804_117, 2_804_118, 2_804_132})
# rudder-transformer knows these as "do not retry"; nobody has published their titles.
UNTITLED_SUBCODES: Final = frozenset({2_804_007, 2_804_008, 2_804_017, 2_804_048})
# 100 with these subcodes: the object is missing, or the token may not see it (33, 34).
NO_ACCESS_SUBCODES: Final = frozenset({33, 34, *WHATSAPP_LINK_SUBCODES})

# Code → the subcodes that Meta documents for it, or that were reported.
SUBCODES: Final[dict[int, frozenset[int]]] = {
    BAD_REQUEST[0]: frozenset({BAD_REQUEST[1]}),
    4: frozenset({1_504_022, 1_504_039}),
    17: frozenset({2_446_079}),
    INVALID_PARAMETER_CODE: frozenset(
        {
            CODE_EXPIRED_SUBCODE,
            REDIRECT_MISMATCH_SUBCODE,
            CODE_USED_SUBCODE,
            TASKS_SUBCODE,
            CLICK_ID_SUBCODE,
            TOO_OLD_SUBCODE,
            FUTURE_SUBCODE,
            PURCHASE_VALUE_SUBCODE,
            PURCHASE_CURRENCY_SUBCODE,
            NOT_HASHED_SUBCODE,
            KEY_SUBCODE,
            CURRENCY_SUBCODE,
            LEAD_ID_SUBCODE,
            EXTINFO_SUBCODE,
            TOO_BROAD_SUBCODE,
            MESSAGING_NAME_SUBCODE,
            MESSAGING_CHANNEL_SUBCODE,
            *MESSAGING_IDS_SUBCODES,
            *UNTITLED_SUBCODES,
            *NO_ACCESS_SUBCODES,
        }
    ),
    # "Access Tokens: Debugging and Error Handling": app removed, checkpoint, password changed, expired,
    # unconfirmed, invalid, role lost.
    190: frozenset({458, 459, 460, 463, 464, 467, 492}),
    613: frozenset({1_487_742, 5_044_001}),
    **dict.fromkeys(range(80_000, 80_015), frozenset({2_446_079})),
}

# Where Graph takes a secret in the URL and nowhere else: these are documented as GET ("Manually Build a Login Flow",
# "Install Apps, Generate, Refresh, and Revoke Tokens", "Access Tokens: Debugging"), and a POST to debug_token is
# refused (100/33).
SECRET_IN_URL_PATHS: Final = frozenset({"oauth/access_token", "oauth/revoke", "debug_token"})
