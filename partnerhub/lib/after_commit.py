"""What is said once a transaction of Django's has committed. (Hints know no Django: doors give them, too.)"""

from __future__ import annotations

from django.db import transaction

from partnerhub.lib.hints import send_hint


def hint_after_commit(task: str, *ids: int) -> None:
    """Send the hint when the running transaction has committed; at once where there is none."""
    transaction.on_commit(lambda: send_hint(task, *ids))
