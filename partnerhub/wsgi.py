"""The web site's entry point. It takes the database role `app`."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
os.environ["PROCESS"] = "web"

from django.core.wsgi import get_wsgi_application

from partnerhub.lib import metrics

# With any other exit code gunicorn starts the process anew, and for ever.
GUNICORN_GIVES_UP = 3

try:
    application = get_wsgi_application()
    metrics.begin("web")
except (SystemExit, OSError) as sentence:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(GUNICORN_GIVES_UP)
