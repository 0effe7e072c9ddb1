"""`make soak`. A PostgreSQL of this run's own comes first, for it is killed; then the environment, then Django."""

import atexit
import os
import sys

import django

from partnerhub.dev import postgres
from tests.support.environment import prepare_environment

NAME = f"postgres-soak-{os.getpid()}"
CLUSTER = postgres.ensure_running(name=NAME)
# The last to go: registered before the database's own end.
atexit.register(postgres.remove, name=NAME)
os.environ["TEST_DATABASE_URL"] = CLUSTER.url(postgres.SUPERUSER, "postgres")
DATABASE = prepare_environment()
django.setup()

from tests.soak.run import main  # noqa: E402  (the lines above come first)

sys.exit(main(DATABASE, cluster=NAME))
