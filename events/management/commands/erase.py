"""`manage.py erase`: erase all that is stored of one person. The value is read from standard input."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.erasures import hash_of, request_erasure
from events.models import Erasure
from onboarding.models import Pixel
from tenants.models import Advertiser


class Command(BaseCommand):
    """Asks for an erasure, or shows its receipt. Workers do the work."""

    help = (
        "Erases all that is stored of one person. What identifies the person is read from standard input: on the"
        " command line everybody on the machine could read it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose data and where, or which receipt."""
        acts = parser.add_subparsers(dest="act", required=True)
        ask = acts.add_parser("ask", help="erase; the value comes on standard input")
        ask.add_argument("--advertiser", type=int, required=True, metavar="KEY")
        ask.add_argument("--pixel", type=int, metavar="KEY", help="this pixel alone")
        ask.add_argument("--kind", required=True, choices=Erasure.Kind.values)
        acts.add_parser("show", help="print the receipt").add_argument("erasure", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print the receipt as far as it goes."""
        if options["act"] == "show":
            erasure = Erasure.objects.filter(pk=options["erasure"]).first()
            if erasure is None:
                raise CommandError("There is no such erasure.")
        else:
            erasure = self._ask(options)
        for line in receipt(erasure):
            self.stdout.write(line)

    def _ask(self, options: dict[str, Any]) -> Erasure:
        advertiser = Advertiser.objects.filter(pk=options["advertiser"]).first()
        if advertiser is None:
            raise CommandError("There is no advertiser with this key.")
        pixel = None
        if options["pixel"] is not None:
            pixel = Pixel.objects.filter(advertiser=advertiser, pk=options["pixel"]).first()
            if pixel is None:
                raise CommandError("The advertiser has no pixel with this key.")
        kind = options["kind"]
        needle = hash_of(kind, sys.stdin.readline(), default_country=advertiser.default_country or None)
        if needle is None:
            raise CommandError("What came on standard input is not one of that kind.")
        return request_erasure(
            advertiser=advertiser, pixel=pixel, kind=kind, needle=needle, requested_by=None
        )


def receipt(erasure: Erasure) -> list[str]:
    """The receipt in lines. It names nobody."""
    where = "all pixels" if erasure.pixel_id is None else f"pixel {erasure.pixel_id}"
    finished = f", done {erasure.finished_at:%Y-%m-%d %H:%M:%S} UTC" if erasure.finished_at else ""
    return [
        f"erasure {erasure.pk} of advertiser {erasure.advertiser_id}, {where}: {erasure.state}",
        f"given: {erasure.get_kind_display()}; asked for {erasure.created_at:%Y-%m-%d %H:%M:%S} UTC{finished}",
        (
            f"looked at {erasure.looked_at} of {erasure.total} events; erased {erasure.events_erased},"
            f" of which {erasure.events_stopped} are not sent any more"
        ),
    ]
