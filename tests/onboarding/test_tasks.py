"""Onboarding's jobs: a hint may come twice, late, or of nothing, and changes no more than one would."""

from __future__ import annotations

import pytest

from onboarding import services, tasks
from partnerhub.lib.graph import GraphClient
from tests.support.factories import make_credential, make_pixel
from tests.support.sandbox import SandboxClient

TOKEN = "EAAtoken-of-the-task"


@pytest.mark.django_db
def test_the_task_runs_a_test_to_its_end_and_a_second_hint_does_nothing(
    meta: SandboxClient, graph: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = make_pixel()
    make_credential(pixel, token=TOKEN)
    meta.put_pixel(pixel.meta_id)
    meta.put_token(TOKEN, pixels=[pixel.meta_id])
    monkeypatch.setattr(tasks, "graph_client", lambda: graph)
    test = services.request_connection_test(pixel=pixel, requested_by=None)

    for test_id in (test.pk, test.pk, test.pk + 1):
        tasks.run_connection_test(test_id)

    test.refresh_from_db()
    assert test.state == "passed"
    assert [stored.copies for stored in meta.stored(pixel.meta_id)] == [1]
