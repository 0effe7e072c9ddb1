"""The web site's entry point. It takes the database role `app`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
os.environ["PROCESS"] = "web"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
