"""What onboarding's pages show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from onboarding.journey import ENDS, State
from onboarding.models import ConnectionTest, Credential, OnboardingSession, Option, Pixel, TokenLink
from onboarding.options import ADAPTERS
from partnerhub.lib.charts import OutcomeStrip, outcome_strip
from partnerhub.lib.graph.remedies import explain
from tenants.models import Advertiser, Partner

# What a function takes that goes over pixels.
Pixels = QuerySet[Pixel]
TESTS_A_PAGE: Final = 30


def credentials_in_use(pixel_ids: Iterable[int]) -> dict[int, Credential]:
    """The credential of each pixel that has one, by pixel."""
    found = Credential.objects.filter(pixel__in=list(pixel_ids)).exclude(state=Credential.State.RETIRED)
    return {credential.pixel_id: credential for credential in found}


def latest_tests(pixel_ids: Iterable[int]) -> dict[int, ConnectionTest]:
    """The newest connection test of each pixel that has one, by pixel."""
    newest = (
        ConnectionTest.objects.filter(pixel__in=list(pixel_ids))
        .order_by("pixel", "-id")
        .distinct("pixel")
        .defer("request", "answer")
    )
    return {test.pixel_id: test for test in newest if test.pixel_id is not None}


@dataclass(frozen=True, slots=True)
class ListedTest:
    """A connection test in a list: `words` say what came of it."""

    test: ConnectionTest
    words: str
    badge: str


@dataclass(frozen=True, slots=True)
class TestPage:
    """A page of a pixel's connection tests, newest first; `older` is what the next page begins before."""

    __test__ = False

    rows: list[ListedTest]
    strip: OutcomeStrip | None
    older: int | None


_BADGES: Final = {"passed": "working", "failed": "failing", "running": "waiting", "waiting": "waiting"}


def connection_tests(pixel: Pixel, *, before: int | None, language: str) -> TestPage:
    """The tests of a pixel before the one with this id, and the page's picture: oldest at the left."""
    found = ConnectionTest.objects.filter(pixel=pixel).select_related("credential", "requested_by")
    if before is not None:
        found = found.filter(pk__lt=before)
    tests = list(found.order_by("-id").defer("request", "answer")[: TESTS_A_PAGE + 1])
    page = tests[:TESTS_A_PAGE]
    finished = [test for test in reversed(page) if test.is_finished]
    return TestPage(
        rows=[ListedTest(test, _words(test, language), _BADGES[test.state]) for test in page],
        strip=outcome_strip(
            [
                (test.created_at, test.state == ConnectionTest.State.PASSED, test.latency_ms)
                for test in finished
            ]
        )
        if finished
        else None,
        older=page[-1].pk if len(tests) > TESTS_A_PAGE else None,
    )


def _words(test: ConnectionTest, language: str) -> str:
    if test.state == ConnectionTest.State.PASSED:
        return "Meta counted the test event."
    if test.state != ConnectionTest.State.FAILED:
        return "Under way."
    option = test.credential.option if test.credential else ""
    return explain(test.failure_class, test.code, test.subcode, language=language, option=option).title


def fresh_test_event_code(pixel: Pixel, *, now: datetime) -> str:
    """The test event code that was typed last; empty once it is too old to be meant."""
    until = pixel.test_event_code_until
    return pixel.test_event_code if until is not None and until > now else ""


# The wizard "Connect your pixel".


@dataclass(frozen=True, slots=True)
class Choice:
    """A pixel that a log-in reached, to pick from."""

    id: str
    name: str
    owner: str
    last_fired: datetime | None
    usable: bool


def offered_options(partner: Partner, among: Iterable[Option] = Option) -> list[Option]:
    """The auth options that the partner offers, out of these."""
    return [option for option in among if getattr(partner, f"offers_{option}")]


def choices_of(session: OnboardingSession) -> list[Choice]:
    """The pixels that there are to pick from: usable ones first, the one with the latest activity before all."""
    choices = [
        Choice(
            pixel["id"],
            pixel["name"] or pixel["id"],
            pixel["owner"],
            _moment(pixel["last_fired"]),
            pixel["usable"],
        )
        for pixel in session.facts.get("pixels", ())
    ]
    fired = [choice for choice in choices if choice.usable and choice.last_fired]
    fired.sort(key=attrgetter("last_fired"), reverse=True)
    silent = [choice for choice in choices if choice.usable and not choice.last_fired]
    return [*fired, *silent, *(choice for choice in choices if not choice.usable)]


def _moment(said: str) -> datetime | None:
    """Meta's `last_fired_time`, as text or in Unix seconds; None where there is none, or nonsense."""
    try:
        return datetime.fromtimestamp(int(said), UTC) if said.isdigit() else parse_datetime(said)
    except (ValueError, OverflowError):
        return None


def test_of_session(session: OnboardingSession) -> ConnectionTest | None:
    """The newest test with what the session is about to connect."""
    return ConnectionTest.objects.filter(session=session).defer("request", "answer").order_by("-id").first()


def link_of_session(session: OnboardingSession) -> TokenLink | None:
    """The link that a colleague still holds."""
    waiting = [TokenLink.State.OPEN, TokenLink.State.PASTED]
    return TokenLink.objects.filter(session=session, state__in=waiting).select_related("created_by").first()


def open_sessions(advertiser: Advertiser) -> list[OnboardingSession]:
    """What was begun and not finished, the latest first; not what nobody has done anything in."""
    found = OnboardingSession.objects.filter(advertiser=advertiser).exclude(state__in=ENDS)
    return list(
        found.exclude(state=State.CHOOSING, facts__meta_id=None).select_related("pixel").order_by("-id")
    )


def what_disconnecting_does(pixel: Pixel) -> list[str]:
    """What disconnecting the pixel will do, a sentence each, beforehand."""
    credential = credentials_in_use([pixel.pk]).get(pixel.pk)
    effects = ["Sending stops at once. Events that still arrive wait, and Meta takes them for seven days."]
    if credential is not None:
        undoing = ADAPTERS[Option(credential.option)].undoing
        effects.append(
            undoing
            or "The token is erased here. It is another app's, so that only your business can end it at Meta."
        )
    effects.append(
        "What was sent so far stays in the books, and the pixel can be connected anew at any time."
    )
    return effects
