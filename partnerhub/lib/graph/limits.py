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
# Codes 1, 2 and 5000 (a fault, downtime, unknown) are in no set: what is in none is taken to pass.
INVALID_PARAMETER: Final = 100
# 1 with subcode 99 is a bad request and not a fault of Meta's.
BAD_REQUEST: Final = (1, 99)
# A duplicate post.
REFUSED_CODES: Final = frozenset({506})
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
# 100 with these subcodes: the object is missing, or the token may not see it (33, 34); the WhatsApp account
# and the dataset do not belong together (2804117, 2804118, 2804132; reported 2026).
NO_ACCESS_SUBCODES: Final = frozenset({33, 34, 2_804_117, 2_804_118, 2_804_132})
# The type of a 100 that speaks of the call and not of its content.
NOT_THE_CONTENT_TYPE: Final = "GraphMethodException"
# Reported by rudder-transformer and seen live 2026-09-05: "Event Timestamp Too Old".
TOO_OLD_SUBCODE: Final = 2_804_003
# Meta publishes no list of these: all that was reported lies here, and an unknown one is refused.
EVENT_SUBCODES: Final = range(2_804_000, 2_805_000)

# Where Graph takes a secret in the URL and nowhere else; nothing of today's calls is here.
SECRET_IN_URL_PATHS: Final[frozenset[str]] = frozenset()
