"""What a failure means to a person: what happened, who must act, what to do. Pure.

Written for a shop's owner who has never heard of a system user. Chosen by Meta's numbers and our failure
classes; Meta's own texts are localised and are shown beside this, not instead of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from partnerhub.lib.graph import limits
from partnerhub.lib.graph.errors import FailureClass


class Actor(StrEnum):
    """Who must act."""

    ADVERTISER = "advertiser"
    PARTNER = "partner"
    META = "meta"
    PARTNERHUB = "partnerhub"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure in words."""

    title: str
    what_happened: str
    who_must_act: Actor
    what_to_do: tuple[str, ...]

    @property
    def wants_new_token(self) -> bool:
        """Whether the last step is to paste a new token, so that a page can offer it as a button."""
        return self.what_to_do[-1] == _PASTE_IT


_PASTE_IT = "Copy the whole token and paste it here as a new token."
_NEW_TOKEN = (
    "Open Meta Events Manager and choose your pixel under Data sources.",
    "Open Settings, find Conversions API, and press Generate access token.",
    _PASTE_IT,
)
_WAIT = ("You need to do nothing. Test again in a few minutes.",)

_DEAD_TOKEN = Explanation(
    "Meta does not accept the access token",
    "The token was revoked, is incomplete, or was never valid.",
    Actor.ADVERTISER,
    _NEW_TOKEN,
)

_UNREACHABLE = Explanation(
    "The token cannot reach this pixel",
    "Either the pixel ID is wrong, or the token was made for another pixel.",
    Actor.ADVERTISER,
    (
        "Compare the pixel ID with the number in Meta Events Manager.",
        "If it is right, open that pixel's Settings and generate a token there.",
        _PASTE_IT,
    ),
)
_OLD_VERSION = Explanation(
    "We speak a version that Meta has withdrawn",
    "Meta renews the way that its partners talk to it, and we are behind. Your token and your pixel are fine.",
    Actor.PARTNERHUB,
    ("You need to do nothing. Events wait safely until we have caught up.",),
)
_WHATSAPP = Explanation(
    "Meta misses the WhatsApp details of the event",
    "The event says that it comes from a chat, and what Meta needs to know of that chat is missing or wrong.",
    Actor.ADVERTISER,
    (
        "Send messaging_channel, and the ids of the page or account that the chat was with, with the event.",
        "If the event does not come from a chat, give it another action_source.",
    ),
)
_WHATSAPP_LINK = Explanation(
    "Your WhatsApp account does not belong to this pixel",
    "Meta takes events of a chat only where the WhatsApp Business account is linked to the pixel.",
    Actor.ADVERTISER,
    ("In Meta Events Manager, open the pixel's Settings and link your WhatsApp Business account.",),
)
# A 100 without a subcode that speaks of the call and not of what it carries.
_APP_SECRET = Explanation(
    "Meta did not take the call for ours",
    "The proof that goes with the token is missing or does not fit. The events themselves are not at fault.",
    Actor.PARTNER,
    ("Ask your partner to check its Meta app's secret, and whether the app demands proof of it.",),
)

# (code, subcode) → explanation; the subcode None stands for any other.
_BY_NUMBER: dict[tuple[int, int | None], Explanation] = {
    (190, None): _DEAD_TOKEN,
    (190, 458): Explanation(
        "The app behind the token was removed",
        "Somebody removed the app that made this token from your Meta business.",
        Actor.ADVERTISER,
        _NEW_TOKEN,
    ),
    (190, 459): Explanation(
        "Meta wants to check your account",
        "Meta has stopped the token until the person behind it passes a security check.",
        Actor.ADVERTISER,
        ("Log in at facebook.com and follow the steps shown there.", "Then test the connection again."),
    ),
    (190, 460): Explanation(
        "The password behind the token was changed",
        "The person who made the token has changed their Facebook password, which ends their tokens.",
        Actor.ADVERTISER,
        _NEW_TOKEN,
    ),
    (190, 463): Explanation(
        "The access token has expired",
        "Meta's tokens may live for 60 days only, and this one's time is over.",
        Actor.ADVERTISER,
        _NEW_TOKEN,
    ),
    (190, 464): Explanation(
        "Meta wants you to confirm your account",
        "The account behind the token is not confirmed.",
        Actor.ADVERTISER,
        ("Log in at facebook.com and confirm the account.", "Then test the connection again."),
    ),
    (190, 467): _DEAD_TOKEN,
    (190, 492): Explanation(
        "The person behind the token lost their role",
        "Whoever made the token no longer has a role on the pixel.",
        Actor.ADVERTISER,
        ("Ask an admin of your Meta business to generate a new token.", _PASTE_IT),
    ),
    (102, None): _DEAD_TOKEN,
    (452, None): _DEAD_TOKEN,
    (104, None): Explanation(
        "Our signature is wrong",
        "Meta could not verify that the call came from the partner's app. Your token may be fine.",
        Actor.PARTNER,
        ("Ask your partner to check its Meta app's secret.",),
    ),
    (100, 33): _UNREACHABLE,
    (100, 34): _UNREACHABLE,
    (803, None): _UNREACHABLE,
    (12, None): _OLD_VERSION,
    (2635, None): _OLD_VERSION,
    (100, limits.TOO_OLD_SUBCODE): Explanation(
        "The event is too old for Meta",
        "Meta takes events of the last 7 days only (62 days for those in a shop).",
        Actor.ADVERTISER,
        ("Send events soon after they happen.", "Check that event_time is in seconds, not milliseconds."),
    ),
    (100, 2_804_001): Explanation(
        "The click id is malformed",
        "The event's fbc has not the form that Meta wants.",
        Actor.ADVERTISER,
        ("Send the _fbc cookie as it is, unchanged.",),
    ),
    (100, 2_804_004): Explanation(
        "The event lies in the future",
        "The event's time is later than Meta's clock.",
        Actor.ADVERTISER,
        ("Check the clock of the sending server.", "Check that event_time is in seconds, not milliseconds."),
    ),
    (100, 2_804_009): Explanation(
        "The purchase has no value",
        "A Purchase needs custom_data.value.",
        Actor.ADVERTISER,
        ("Send the amount as a number, such as 42.50.",),
    ),
    (100, 2_804_010): Explanation(
        "The purchase has no currency",
        "A Purchase needs custom_data.currency.",
        Actor.ADVERTISER,
        ("Send the currency as three letters, such as EUR.",),
    ),
    (100, 2_804_016): Explanation(
        "Personal data was not hashed",
        "Meta found a field that should have been hashed. This is our mistake.",
        Actor.PARTNERHUB,
        ("You need to do nothing. We are told of it.",),
    ),
    (100, 2_804_019): Explanation(
        "Meta does not know a field of the event",
        "A field is missing or stands where Meta does not expect it.",
        Actor.PARTNERHUB,
        ("You need to do nothing. We are told of it.",),
    ),
    (100, 2_804_023): Explanation(
        "The value has no currency",
        "An event with a value needs its currency.",
        Actor.ADVERTISER,
        ("Send value and currency together.",),
    ),
    (100, 2_804_050): Explanation(
        "The event does not say enough about the person",
        "What identifies the person is missing or too broad to match anybody.",
        Actor.ADVERTISER,
        ("Add an e-mail address, a phone number, the IP address with the browser's name, or external_id.",),
    ),
    (100, 2_804_036): Explanation(
        "The lead id is wrong",
        "Meta does not know the lead that the event names, or it was deleted.",
        Actor.ADVERTISER,
        ("Send lead_id as Meta gave it, a number of 15 to 17 digits, or leave it out.",),
    ),
    (100, 2_804_043): Explanation(
        "What the event says about the device is wrong",
        "An app's event describes its device in 16 places (extinfo), and one of them is missing or malformed.",
        Actor.ADVERTISER,
        ("Send all 16 places of app_data.extinfo in Meta's order, an empty text for what is unknown.",),
    ),
    (100, 2_804_063): _WHATSAPP,
    (100, 2_804_066): Explanation(
        "Meta does not know this event for chats",
        "For events that come from a chat, Meta takes only certain names, such as Purchase or LeadSubmitted.",
        Actor.ADVERTISER,
        ("Use one of Meta's names for business messaging, or give the event another action_source.",),
    ),
    (100, 2_804_069): _WHATSAPP,
    (100, 2_804_079): _WHATSAPP,
    (100, 2_804_087): _WHATSAPP,
    (100, 2_804_116): _WHATSAPP,
    (100, 2_804_117): _WHATSAPP_LINK,
    (100, 2_804_118): _WHATSAPP_LINK,
    (100, 2_804_132): _WHATSAPP_LINK,
    (3, None): Explanation(
        "The app behind the token lacks a capability",
        "Meta has not approved the app behind the token for this.",
        Actor.PARTNER,
        ("Ask your partner to check its Meta app's approvals.",),
    ),
    (294, None): Explanation(
        "A permission is missing",
        "The token was made without the permission ads_management.",
        Actor.ADVERTISER,
        _NEW_TOKEN,
    ),
    (368, None): Explanation(
        "Meta has limited this account",
        "Meta has blocked the account for a time, for its policies.",
        Actor.ADVERTISER,
        (
            "Open Account Quality in Meta Business settings and see what is wrong.",
            "Test the connection again when Meta has lifted the limit.",
        ),
    ),
    (270, None): Explanation(
        "The partner's app has limited access",
        "The partner's Meta app may only reach its own assets so far.",
        Actor.PARTNER,
        ("Ask your partner to apply for full access at Meta.",),
    ),
}

_BY_CLASS: dict[str, Explanation] = {
    FailureClass.TRANSIENT: Explanation(
        "Meta had a fault", "Meta answered that something failed on its side.", Actor.META, _WAIT
    ),
    FailureClass.RATE_LIMITED: Explanation(
        "Meta asks us to slow down",
        "Meta limits how many calls may be made, and the limit is reached for now.",
        Actor.META,
        ("You need to do nothing. Events wait safely; test again later.",),
    ),
    FailureClass.CREDENTIAL: _DEAD_TOKEN,
    FailureClass.PERMISSION: Explanation(
        "The token may not send events to this pixel",
        "The token is valid, but it has no permission for this pixel.",
        Actor.ADVERTISER,
        (
            "In Meta Events Manager, open your pixel's Settings and generate a token there.",
            "If that is not you: ask whoever runs your Meta business to give the token access to this pixel.",
            "Then test the connection again.",
        ),
    ),
    FailureClass.REFUSED: Explanation(
        "Meta refused the event",
        "Meta did not accept what was sent. Its own words are below.",
        Actor.PARTNERHUB,
        ("Send us the trace ID below: it lets Meta find the request.",),
    ),
    FailureClass.TOO_OLD: _BY_NUMBER[100, limits.TOO_OLD_SUBCODE],
    FailureClass.UNSENT: Explanation(
        "Meta could not be reached",
        "No connection to Meta could be made. Nothing was sent.",
        Actor.META,
        _WAIT,
    ),
    FailureClass.IN_DOUBT: Explanation(
        "Meta did not answer",
        "The test event was sent, and no answer came back. Meta may have counted it or not.",
        Actor.META,
        _WAIT,
    ),
    "uncounted": Explanation(
        "Meta answered, but did not count the event",
        "Meta took the request and said that it received no event.",
        Actor.META,
        (
            "Test again in a few minutes.",
            "If it happens again, send Meta's support the trace ID below.",
        ),
    ),
    "clash": Explanation(
        "Another event came with the same event_id",
        "An event of this name and event_id was taken in before, with other content. "
        "This one is kept and not sent.",
        Actor.ADVERTISER,
        ("Give every event an event_id of its own.",),
    ),
    "sealed": Explanation(
        "The stored token cannot be opened",
        "We keep tokens encrypted, and this one does not open with our keys. Nothing was sent.",
        Actor.PARTNERHUB,
        ("Paste the token again. We look into the cause.",),
    ),
}

_UNKNOWN = Explanation(
    "Meta gave an answer that we do not know",
    "The connection failed, and we have no explanation for Meta's answer. Its own words are below.",
    Actor.PARTNERHUB,
    ("Test again in a few minutes.", "If it fails again, send us the trace ID below."),
)


def explain(failure_class: str, code: int | None = None, subcode: int | None = None) -> Explanation:
    """The words for a failure: by its numbers, else by its class, else honest words for an unknown one."""
    if failure_class == FailureClass.PERMISSION and (code, subcode) == (limits.INVALID_PARAMETER_CODE, None):
        return _APP_SECRET
    if code is not None:
        found = _BY_NUMBER.get((code, subcode)) or _BY_NUMBER.get((code, None))
        if found is not None:
            return found
    return _BY_CLASS.get(failure_class, _UNKNOWN)
