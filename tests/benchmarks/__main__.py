"""`make bench`. The environment comes before Django, and Django before what is measured."""

import sys

import django

from tests.support.environment import prepare_environment

DATABASE = prepare_environment()
django.setup()

from tests.benchmarks.bench import main  # noqa: E402  (the lines above come first)

sys.exit(main(DATABASE))
