"""`manage.py replay`: send old events of a pixel once more; see first what that would do."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from events import replays
from events.dry_run import dry_run
from events.models import Replay
from events.replay import FATES
from events.replays import ReplayError
from onboarding.models import Pixel


class Command(BaseCommand):
    """Asks for, shows and steers replays. Workers do the work."""

    help = "Sends old events of a pixel once more, after it has counted them and you have confirmed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One act, and what it is about."""
        acts = parser.add_subparsers(dest="act", required=True)
        for name, words in (
            ("ask", "count what would be sent"),
            ("dry-run", "print the first request that would be sent, with the token masked"),
        ):
            ask = acts.add_parser(name, help=words)
            ask.add_argument("--pixel", type=int, required=True, metavar="KEY", help="our key of the pixel")
            ask.add_argument("--first", type=int, metavar="OFFSET")
            ask.add_argument("--last", type=int, metavar="OFFSET")
            ask.add_argument(
                "--since", type=_moment, metavar="TIME", help="received then or later (ISO 8601)"
            )
            ask.add_argument("--until", type=_moment, metavar="TIME", help="received before it")
            if name == "ask":
                ask.add_argument("--event-name", action="append", default=[], metavar="NAME")
                ask.add_argument("--fate", action="append", default=[], choices=[str(fate) for fate in FATES])
                ask.add_argument("--code", type=int, help="of the rejected, those with this code of Meta's")
        for name, words in (
            ("show", "print how far it is"),
            ("confirm", "begin to send"),
            ("pause", "send nothing more for now"),
            ("resume", "go on"),
            ("cancel", "end it"),
        ):
            acts.add_parser(name, help=words).add_argument("replay", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what came of it."""
        try:
            if options["act"] in ("ask", "dry-run"):
                self._about_a_pixel(options)
            else:
                self._about_a_replay(options["act"], options["replay"])
        except ReplayError as error:
            self.stderr.write(str(error))
            sys.exit(1)

    def _about_a_pixel(self, options: dict[str, Any]) -> None:
        pixel = Pixel.objects.select_related("advertiser__partner").filter(pk=options["pixel"]).first()
        if pixel is None:
            raise CommandError("There is no pixel with this key.")
        found = replays.find_range(
            pixel,
            first=options["first"],
            last=options["last"],
            since=options["since"],
            until=options["until"],
        )
        if options["act"] == "dry-run":
            self.stdout.write(dry_run(pixel, first=found.first, last=found.last).text)
            return
        replay = replays.request_replay(
            pixel=pixel,
            found=found,
            event_names=options["event_name"],
            fates=options["fate"],
            code=options["code"],
            requested_by=None,
        )
        self._print(report(replay))

    def _about_a_replay(self, act: str, replay_id: int) -> None:
        replay = Replay.objects.filter(pk=replay_id).first()
        if replay is None:
            raise CommandError("There is no such replay.")
        match act:
            case "confirm":
                replays.confirm_replay(replay=replay, confirmed_by=None)
            case "pause":
                replays.pause_replay(replay=replay)
            case "resume":
                replays.resume_replay(replay=replay)
            case "cancel":
                replays.cancel_replay(replay=replay)
        replay.refresh_from_db()
        self._print(report(replay))

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)


def report(replay: Replay) -> list[str]:
    """A replay in lines: what it is, what counting found, how far it is."""
    tally, progress = replays.tally_of(replay), replays.progress_of(replay)
    found = ", ".join(
        f"{count} {verdict.replace('_', ' ')}" for verdict, count in sorted(tally.counts.items())
    )
    return [
        (
            f"replay {replay.pk} of pixel {replay.pixel_id}: {replay.state},"
            f" offsets {replay.first_offset} to {replay.last_offset}"
        ),
        f"found: {found or 'nothing yet'}",
        f"sendable: {tally.sendable}, of which Meta may count {tally.may_count_twice} twice",
        (
            f"handed over: {progress.queued}; accepted {progress.accepted}, refused {progress.refused},"
            f" in doubt {progress.in_doubt}, under way {progress.under_way}, not sent {progress.cancelled}"
        ),
    ]


def _moment(text: str) -> datetime:
    """A moment; without a zone it is UTC."""
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError
    return moment if timezone.is_aware(moment) else moment.replace(tzinfo=timezone.get_default_timezone())
