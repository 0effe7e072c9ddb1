"""The web site's addresses."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from partnerhub import health
from tenants.middleware import ADMIN_PATH
from tenants.views import home

# The operator signs in as everybody does, with the same limits on guessing.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # as allauth documents it

urlpatterns = [
    path("", home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("accounts/", include("allauth.account.urls")),
    path("", include("tenants.urls")),
    path("", include("onboarding.urls")),
    path("", include("events.urls")),
    path(ADMIN_PATH.lstrip("/"), admin.site.urls),
]
