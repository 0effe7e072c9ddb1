"""OpenTelemetry traces from the door to Graph, where OTEL_EXPORTER_OTLP_ENDPOINT says whereto. No Django.

Without that setting each call here is one comparison, and nothing of OpenTelemetry is imported. A span holds our keys
and Meta's ids, counts and outcomes: never a payload, a token, a query, or an exception's text.

Nothing of a trace is stored or sent with a message. A commit's and a delivery's ids are derived from what the
database holds of them, so a worker, and a later attempt, find the same ones (docs/monitoring.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from partnerhub.lib.config import config

Kind = Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER", "INTERNAL"]
Attributes = Mapping[str, str | int]

# A batch of a thousand events came through as many doors as it likes.
LINKS: Final = 32
# Until a receiver that does not answer is given up: a process that ends waits for its last spans so long.
EXPORT_SECONDS: Final = 3


class TracingError(Exception):
    """Traces were asked for and cannot be made; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Where a span is found."""

    trace_id: int
    span_id: int


def commit_ids(pixel_id: int, received_at: datetime) -> Ids:
    """Of the span of the commit by which a door took in the pixel's events of this moment."""
    return _derived(f"commit {pixel_id} {received_at.timestamp():.6f}")


def delivery_ids(delivery_id: int, attempt: int) -> Ids:
    """Of the span of one attempt of a delivery; all of its attempts are in one trace."""
    return Ids(
        _derived(f"delivery {delivery_id}").trace_id, _derived(f"attempt {delivery_id} {attempt}").span_id
    )


def _derived(text: str) -> Ids:
    digest = hashlib.blake2b(text.encode(), digest_size=24).digest()
    return Ids(int.from_bytes(digest[:16]), int.from_bytes(digest[16:]))


@dataclass(slots=True)
class _Own:
    """This process's tracer, and what ends it; None while no traces are made."""

    tracer: Any = None
    provider: Any = None


_own: Final = _Own()
_wanted: ContextVar[Ids | None] = ContextVar("wanted_ids", default=None)
_NOTHING: Final[AbstractContextManager[None]] = contextlib.nullcontext()


def is_on() -> bool:
    """Whether traces are made in this process."""
    return _own.tracer is not None


def begin(process: str) -> None:
    """Make traces from now on, where the settings want them. A second call changes nothing.

    Raises TracingError with a sentence where what it takes is not installed.
    """
    endpoint = config().otel_exporter_otlp_endpoint
    if not endpoint or is_on():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise TracingError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: install the extra `traces`,"
            " or unset it."
        ) from None
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
    start_with(BatchSpanProcessor(exporter), process=process)


def start_with(processor: Any, *, process: str) -> None:
    """Make traces from now on, and hand each ended span to OpenTelemetry's `processor`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class DerivedIds(RandomIdGenerator):
        """The ids that were asked for; random ones where none were."""

        def generate_trace_id(self) -> int:
            return ids.trace_id if (ids := _wanted.get()) else super().generate_trace_id()

        def generate_span_id(self) -> int:
            return ids.span_id if (ids := _wanted.get()) else super().generate_span_id()

    provider = TracerProvider(
        resource=Resource.create({"service.name": f"partnerhub-{process}"}),
        id_generator=DerivedIds(),
        # The SDK drops the oldest link: who adds some sees to it that they are no more.
        span_limits=SpanLimits(max_links=2 * LINKS),
    )
    provider.add_span_processor(processor)
    _own.provider, _own.tracer = provider, provider.get_tracer("partnerhub")


def stop() -> None:
    """Send what is left, and make no more."""
    provider, _own.provider, _own.tracer = _own.provider, None, None
    if provider is not None:
        provider.shutdown()


def span(
    name: str,
    *,
    kind: Kind = "INTERNAL",
    ids: Ids | None = None,
    started_ns: int | None = None,
    links: Iterable[Ids] = (),
    **attributes: str | int,
) -> AbstractContextManager[Any]:
    """A span around the block, below the one that it is in; with `ids`, one of its own at that place.

    The block gets the span, or None where no traces are made.
    """
    if _own.tracer is None:
        return _NOTHING
    return _span(name, kind, ids, started_ns, links, attributes)


@contextmanager
def _span(
    name: str,
    kind: Kind,
    ids: Ids | None,
    started_ns: int | None,
    links: Iterable[Ids],
    attributes: Attributes,
) -> Iterator[Any]:
    from opentelemetry.trace import StatusCode, use_span

    made = _start(name, kind, ids, started_ns, links, attributes)
    # An exception's text may quote what was sent: its type alone is kept.
    with use_span(made, record_exception=False, set_status_on_exception=False):
        try:
            yield made
        except BaseException as error:
            made.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            made.end()


def record(
    name: str,
    *,
    started_ns: int,
    kind: Kind = "INTERNAL",
    ids: Ids | None = None,
    below: Ids | None = None,
    links: Iterable[Ids] = (),
    **attributes: str | int,
) -> None:
    """A span that began at `started_ns` (time.time_ns()) and ends now."""
    if _own.tracer is not None:
        _start(name, kind, ids, started_ns, links, attributes, below=below).end()


def _start(
    name: str,
    kind: Kind,
    ids: Ids | None,
    started_ns: int | None,
    links: Iterable[Ids],
    attributes: Attributes,
    *,
    below: Ids | None = None,
) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

    # Of its own, below a named one, or below the one that it is in.
    context = None if ids is None else Context()
    if below is not None:
        context = set_span_in_context(NonRecordingSpan(_context(below)), Context())
    token = _wanted.set(ids)
    try:
        return _own.tracer.start_span(
            name,
            context=context,
            kind=SpanKind[kind],
            attributes={f"partnerhub.{key}": value for key, value in attributes.items()},
            links=[Link(_context(one)) for one in links],
            start_time=started_ns,
        )
    finally:
        _wanted.reset(token)


def _context(ids: Ids) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(ids.trace_id, ids.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def here() -> Any:
    """The span that this runs in; None where there is none."""
    if _own.tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    return get_current_span()


def ids_of(made: Any) -> Ids:
    """Where the span is found."""
    context = made.get_span_context()
    return Ids(context.trace_id, context.span_id)


def link(made: Any, to: Ids) -> None:
    """Join the span, which has not ended, to another."""
    made.add_link(_context(to))


def now_ns() -> int:
    """The time at which a span begins; 0 where no traces are made."""
    return 0 if _own.tracer is None else time.time_ns()
