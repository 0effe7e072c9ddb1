"""Is the web site alive, and is it ready for people? For load balancers; no log-in, nothing told but the answer."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers."""
    return HttpResponse("alive\n", content_type="text/plain")


@require_GET
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and has this code's migrations, else 503: a line for each, `ok` or what it is."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return HttpResponse("database: away\n", status=503, content_type="text/plain")
    if pending:
        lines = f"database: ok\nmigrations: {len(pending)} to apply\n"
        return HttpResponse(lines, status=503, content_type="text/plain")
    return HttpResponse("database: ok\nmigrations: ok\n", content_type="text/plain")
