"""The web site's addresses."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path

from partnerhub import health
from partnerhub.styleguide import styleguide
from tenants.admin import site
from tenants.middleware import ADMIN_PATH
from tenants.views import home

urlpatterns = [
    path("", home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("accounts/", include("allauth.account.urls")),
    path("", include("tenants.urls")),
    path("", include("onboarding.urls")),
    path("", include("events.urls")),
    path(ADMIN_PATH.lstrip("/"), site.urls),
]
if settings.DEBUG:
    urlpatterns.append(path("styleguide/", styleguide, name="styleguide"))
