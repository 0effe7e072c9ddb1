"""`make guards`."""

import sys

from tests.guards.run import main

sys.exit(main(sys.argv[1:]))
