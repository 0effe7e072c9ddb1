"""The web site's addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from tenants.middleware import ADMIN_PATH

urlpatterns = [
    path("accounts/", include("allauth.account.urls")),
    path(ADMIN_PATH.lstrip("/"), admin.site.urls),
]
