"""The settings as the type checker reads them: with the example's environment, and no database behind it."""

import os

from partnerhub.dev.postgres import CHECKOUT
from partnerhub.lib.vault import new_key_line

for line in (CHECKOUT / ".env.example").read_text().splitlines():
    if line and not line.startswith("#"):
        name, _, value = line.partition("=")
        os.environ[name] = value
# The example's is to be replaced.
os.environ["VAULT_KEYS"] = new_key_line("typing")

from partnerhub.settings import *  # noqa: E402, F403  (the environment comes first; Django wants every name)
