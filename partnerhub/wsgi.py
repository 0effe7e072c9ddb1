"""The web site's entry point. It takes the database role `app`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
os.environ["PROCESS"] = "web"

from django.core.wsgi import get_wsgi_application  # noqa: E402  (the lines above come first)

application = get_wsgi_application()
