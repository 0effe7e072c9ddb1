"""The stand-in's own routes under `/sandbox/api/`: make it fail, read what it received, start anew.

JSON in and out, no sign-in: the stand-in listens on loopback. Nothing here answers with a token or a secret.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from partnerhub.sandbox.admin_bodies import answer, endpoint, flag_of
from partnerhub.sandbox.call_log import CallLog
from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.mail import Mailbox
from partnerhub.sandbox.setup import BadRequest
from partnerhub.sandbox.store import Account, ReceivedRequest, Store
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World

LINES_A_CHUNK = 1000


class Admin:
    """The routes, over the parts that they show and change."""

    def __init__(
        self,
        world: World,
        store: Store,
        knobs: Knobs,
        mailbox: Mailbox,
        courier: Courier,
        log: CallLog,
    ) -> None:
        self._world, self._store, self._knobs, self._mailbox = world, store, knobs, mailbox
        self._courier, self._log = courier, log

    def routes(self) -> list[Route]:
        """All routes, for Starlette."""
        api = "/sandbox/api"
        return [
            Route("/healthz", endpoint(self.health)),
            Route(f"{api}/reset", endpoint(self.reset), methods=["POST"]),
            Route(f"{api}/pixels", endpoint(self.list_pixels)),
            Route(f"{api}/pixels/{{pixel_id}}", endpoint(self.get_pixel), methods=["GET"]),
            Route(f"{api}/pixels/{{pixel_id}}/ids", endpoint(self.get_ids)),
            Route(f"{api}/pixels/{{pixel_id}}/repeats", endpoint(self.get_repeats)),
            Route(f"{api}/knobs", endpoint(self.list_knobs), methods=["GET"]),
            Route(f"{api}/knobs", endpoint(self.add_knob), methods=["POST"]),
            Route(f"{api}/knobs", endpoint(self.clear_knobs), methods=["DELETE"]),
            Route(f"{api}/knobs/{{knob_id:int}}", endpoint(self.remove_knob), methods=["DELETE"]),
            Route(f"{api}/requests", endpoint(self.list_requests)),
            Route(f"{api}/requests/{{number:int}}/body", endpoint(self.get_body)),
            Route(f"{api}/calls", endpoint(self.list_calls), methods=["GET"]),
            Route(f"{api}/mail", endpoint(self.list_mail), methods=["GET"]),
            Route(f"{api}/mail", endpoint(self.clear_mail), methods=["DELETE"]),
        ]

    def health(self, _request: Request, _body: Any) -> Response:
        """Alive."""
        return answer({"status": "ok"})

    def reset(self, _request: Request, body: Any) -> Response:
        """Forget the world, the events, the knobs and the mail; `{"keep_world": true}` keeps the first."""
        if not flag_of(body, "keep_world", False):
            self._world.clear()
        self._courier.clear()
        self._log.clear()
        self._store.clear()
        self._knobs.clear()
        self._mailbox.clear()
        return answer({"success": True})

    def list_pixels(self, _request: Request, _body: Any) -> Response:
        """Every pixel's account, and the refusals that belong to none."""
        pixels = [self._summary(pixel_id) for pixel_id in self._world.pixels]
        return answer({"pixels": pixels, "unplaced_refusals": dict(self._store.unplaced)})

    def get_pixel(self, request: Request, _body: Any) -> Response:
        """One pixel's account."""
        return answer(self._summary(self._known_pixel(request)))

    def get_ids(self, request: Request, _body: Any) -> Response:
        """Every id, a JSON array a line, by first arrival; `since`, `after` (a row) and `limit` narrow it.

        The columns are those of StoredEvent: event_name, event_id, copies, first_arrival, digest,
        partner_agent, test_event_code, row.
        """
        account = self._account(request)
        limit = request.query_params.get("limit")
        try:
            events = account.stored(
                since=float(request.query_params.get("since", "0")),
                after_row=int(request.query_params.get("after", "-1")),
                limit=None if limit is None else int(limit),
            )
        except ValueError:
            raise BadRequest("since, after and limit are numbers.") from None

        def lines() -> Iterator[bytes]:
            for start in range(0, len(events), LINES_A_CHUNK):
                chunk = events[start : start + LINES_A_CHUNK]
                yield b"".join(
                    orjson.dumps(tuple(event), option=orjson.OPT_APPEND_NEWLINE) for event in chunk
                )

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def get_repeats(self, request: Request, _body: Any) -> Response:
        """The ids that came more than once by the server's road: every arrival with its digest."""
        found = [
            {
                "event_name": event.event_name,
                "event_id": event.event_id,
                "copies": event.copies,
                "arrivals": [event.first_arrival, *(repeat.arrival for repeat in repeats)],
                "digests": [event.digest, *(repeat.digest.hex() for repeat in repeats)],
            }
            for event, repeats in self._account(request).repeated()
        ]
        return answer({"repeats": found})

    def list_knobs(self, _request: Request, _body: Any) -> Response:
        """The knobs that are set."""
        return answer({"knobs": [asdict(knob) for knob in self._knobs.all()]})

    def add_knob(self, _request: Request, body: Any) -> Response:
        """Set a knob."""
        return answer(asdict(self._knobs.add(body)), 201)

    def clear_knobs(self, _request: Request, _body: Any) -> Response:
        """Take all knobs away."""
        self._knobs.clear()
        return answer({"success": True})

    def remove_knob(self, request: Request, _body: Any) -> Response:
        """Take one knob away; 404 if it has been used up."""
        if not self._knobs.remove(request.path_params["knob_id"]):
            raise LookupError("There is no such knob.")
        return answer({"success": True})

    def list_requests(self, request: Request, _body: Any) -> Response:
        """The last requests, newest first, bodies and all, secrets masked."""
        limit = request.query_params.get("limit", "200")
        if not limit.isdecimal():
            raise BadRequest("limit is a number.")
        found = self._store.ring.newest(request.query_params.get("pixel"), int(limit))
        return answer({"requests": [_request_json(item) for item in found]})

    def get_body(self, request: Request, _body: Any) -> Response:
        """One request's body as text, byte for byte but for its masked secrets."""
        found = self._store.ring.get(request.path_params["number"])
        if found is None:
            raise LookupError("That request is no longer kept.")
        return Response(
            found.body, media_type="text/plain; charset=utf-8", headers={"x-content-type-options": "nosniff"}
        )

    def list_calls(self, request: Request, _body: Any) -> Response:
        """The calls of access, newest first, and how many of each outcome there were since the reset."""
        calls = [asdict(call) for call in self._log.newest(request.query_params.get("endpoint"))]
        counts: dict[str, dict[str, int]] = {}
        for (name, outcome), count in self._log.counts.items():
            counts.setdefault(name, {})[outcome] = count
        return answer({"calls": calls, "counts": counts})

    def list_mail(self, request: Request, _body: Any) -> Response:
        """The messages, newest first; `to` narrows them to one recipient."""
        mails = [
            {
                "id": mail.id,
                "to": list(mail.recipients),
                "from": mail.sender,
                "subject": mail.subject,
                "text": mail.text,
                "html": mail.html,
                "date": mail.date,
                "arrival": mail.arrival,
            }
            for mail in self._mailbox.to(request.query_params.get("to"))
        ]
        return answer({"mail": mails})

    def clear_mail(self, _request: Request, _body: Any) -> Response:
        """Throw the mail away."""
        self._mailbox.clear()
        return answer({"success": True})

    def _known_pixel(self, request: Request) -> str:
        pixel_id: str = request.path_params["pixel_id"]
        if pixel_id not in self._world.pixels:
            raise LookupError("There is no such pixel.")
        return pixel_id

    def _account(self, request: Request) -> Account:
        return self._store.account(self._known_pixel(request))

    def _summary(self, pixel_id: str) -> dict[str, Any]:
        pixel, account = self._world.pixels[pixel_id], self._store.account(pixel_id)
        return {
            "id": pixel.id,
            "name": pixel.name,
            "requests": account.requests,
            "events": account.events,
            "distinct": account.distinct,
            "without_id": account.without_id,
            "server_repeats": account.server_repeats,
            "browser_events": account.browser_events,
            "browser_deduplicated": account.browser_deduplicated,
            "batch_sizes": {str(size): count for size, count in sorted(account.batch_sizes.items())},
            "event_names": dict(account.event_names),
            "agents": dict(account.agents),
            "user_agents": dict(account.user_agents),
            "test_event_codes": dict(account.test_codes),
            "refused": dict(account.refused),
            "injected": dict(account.injected),
            "last_arrival": account.last_arrival or None,
            "last_fbtrace_id": account.last_trace_id,
        }


def _request_json(item: ReceivedRequest) -> dict[str, Any]:
    return {
        "number": item.number,
        "arrival": item.arrival,
        "pixel_id": item.pixel_id,
        "path": item.path,
        "query": item.query,
        "headers": [list(pair) for pair in item.headers],
        "body": item.body.decode("utf-8", "replace"),
        "events": item.events,
        "outcome": item.outcome,
        "fbtrace_id": item.fbtrace_id,
    }
