"""What is wrong with a step of the set-up, to the person who sets up: title, cause, what to do. Pure.

Where Graph refused by numbers of its own, the error dictionary speaks (partnerhub.lib.graph.remedies); these are
what only the partner's own people can mend, in words for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    """A problem in words. `{name}`s are facts of the check."""

    title: str
    cause: str
    steps: tuple[str, ...]


PROBLEMS: Final[dict[str, Words]] = {
    "app_mismatch": Words(
        "The app ID and the app secret do not belong together",
        "Meta does not let us in as this app.",
        (
            "Open your app in Meta's App Dashboard: App settings → Basic.",
            "Copy the App ID once more.",
            "Press Show beside App secret, and copy the secret once more.",
        ),
    ),
    "app_first": Words(
        "The Meta app comes first",
        "Whose a token is, Meta tells to its own app only.",
        ("Finish the step “Meta app”, then check this one again.",),
    ),
    "assigning_first": Words(
        "The system user that assigns comes first",
        "A token can be made only by an admin system user of the same business.",
        ("Finish the step “Business and the system user that assigns”, or paste a token here.",),
    ),
    "sending_first": Words(
        "The system user that sends comes first",
        "There is no token to send the test event with yet.",
        ("Finish the step “System user that sends”, then check this one again.",),
    ),
    "foreign_token": Words(
        "This token belongs to another app",
        "It was generated for an app that is not the one of this set-up.",
        (
            "In Business settings → System users, choose the system user and press Generate token.",
            "Choose the app of this set-up there, and paste the new token.",
        ),
    ),
    "token_dead": Words(
        "Meta does not accept this token",
        "It has expired, was revoked, or is not complete.",
        ("In Business settings → System users, generate a new token, and paste all of it.",),
    ),
    "not_system_user": Words(
        "This is not a system user's token",
        "It is of the kind {type}: it would end with a person's password or their hour.",
        ("In Business settings → System users, generate the token of the system user, and paste that one.",),
    ),
    "missing_scope": Words(
        "The token lacks a permission",
        "It needs {missing}.",
        ("Generate the token anew, tick {missing} in Meta's list, and paste the new one.",),
    ),
    "wrong_business": Words(
        "The system user cannot see this business",
        "The business ID is another business's, or the system user belongs to another one.",
        (
            "Compare the ID: Business settings → Business info → Business Manager ID.",
            "Use a system user of that very business.",
        ),
    ),
    "not_of_business": Words(
        "The system user is not in this business",
        "Meta's list of the business's system users does not have {user_id}.",
        ("Use a token of a system user of the business with this ID.",),
    ),
    "not_admin": Words(
        "This system user is no admin",
        "An employee system user can neither list the business's system users nor assign pixels. Its role: {role}.",
        (
            "In Business settings → System users, add a system user with the role Admin.",
            "Generate its token for your app, with business_management, and paste it.",
        ),
    ),
    "own_pixel": Words(
        "Your sending system user does not reach this pixel",
        "Meta knows no pixel of this ID for it.",
        (
            "Compare the ID in Events Manager.",
            "In Business settings → System users, choose the one that sends and press Assign assets.",
            "Choose the pixel there, with “Use events dataset”, then check again.",
        ),
    ),
    "uncounted": Words(
        "Meta answered and did not count the event",
        "The answer was no error, and the number of events received is not one.",
        ("Check again. If it stays so, send Meta's support the trace ID below.",),
    ),
    "sealed": Words(
        "A stored secret does not open",
        "It was sealed with a key that this server does not have. Your operator has been told.",
        ("Enter the secret once more.",),
    ),
    "interrupted": Words(
        "The check was interrupted",
        "It started, and did not come to an end.",
        ("Check again.",),
    ),
}
