"""`make bench`. The environment comes before Django, and Django before what is measured."""

import django

from tests.support.environment import prepare_environment

DATABASE = prepare_environment()
django.setup()

from tests.benchmarks.bench import main  # noqa: E402  (the two lines above come first)

main(DATABASE)
