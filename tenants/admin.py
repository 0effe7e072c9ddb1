"""The operator's view of tenants and people. It shows no secret, makes and deletes nothing, and changes little.

Tenants are made by `manage.py partner create` and by their own people. The log's tables are not here: the admin
refuses composite keys.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from tenants.models import Advertiser, AdvertiserMembership, Invitation, Partner, PartnerMembership, Person


class OperatorSite(admin.AdminSite):
    """Django's admin for operators alone, with our models alone."""

    site_header = "PartnerHub · operator"
    site_title = "PartnerHub"
    index_title = "Tenants and people"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person is an operator."""
        return bool(request.user.is_active and request.user.is_superuser)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Nobody signs in here: operators do as everybody does, with the same limits on guessing."""
        if not request.user.is_authenticated:
            return redirect_to_login(reverse("admin:index"))
        if not self.has_permission(request):
            raise PermissionDenied("These pages are for operators.")
        return redirect("admin:index")


site = OperatorSite(name="admin")


class OperatorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django takes no brackets here
    """Rows to look at; only `editable` fields can be changed."""

    editable: tuple[str, ...] = ()
    list_select_related = True
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: each thing has its own way of coming about."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """All that is not editable."""
        return [str(name) for name in self.fields or () if name not in self.editable]

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        """Save what was changed: the web's role may write no other column."""
        obj.save(update_fields=form.changed_data)


@admin.register(Person, site=site)
class PersonAdmin(OperatorAdmin):
    """People; one who is not active cannot sign in."""

    fields = ("email", "name", "time_zone", "is_active", "is_superuser", "date_joined", "last_login")
    editable = ("is_active",)
    list_display = ("email", "name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "name")


@admin.register(Partner, site=site)
class PartnerAdmin(OperatorAdmin):
    """Partners."""

    fields = (
        "name",
        "partner_agent",
        "meta_app_id",
        "business_id",
        "delivery_weight",
        "delivery_ceiling",
        "log_retention_days",
        "created_at",
    )
    editable = (
        "name",
        "partner_agent",
        "meta_app_id",
        "business_id",
        "delivery_weight",
        "delivery_ceiling",
        "log_retention_days",
    )
    list_display = ("name", "partner_agent", "meta_app_id", "created_at")
    search_fields = ("name", "partner_agent")


@admin.register(Advertiser, site=site)
class AdvertiserAdmin(OperatorAdmin):
    """Advertisers."""

    fields = ("name", "partner", "default_country", "created_at")
    editable = ("name", "default_country")
    list_display = ("name", "partner", "default_country", "created_at")
    list_filter = ("partner",)
    search_fields = ("name",)


@admin.register(PartnerMembership, site=site)
class PartnerMembershipAdmin(OperatorAdmin):
    """Roles at partners."""

    fields = ("person", "partner", "role", "created_at")
    list_display = ("person", "partner", "role")
    list_filter = ("role", "partner")
    search_fields = ("person__email", "partner__name")


@admin.register(AdvertiserMembership, site=site)
class AdvertiserMembershipAdmin(OperatorAdmin):
    """Roles at advertisers."""

    fields = ("person", "advertiser", "role", "created_at")
    list_display = ("person", "advertiser", "role")
    list_filter = ("role",)
    search_fields = ("person__email", "advertiser__name")


@admin.register(Invitation, site=site)
class InvitationAdmin(OperatorAdmin):
    """Invitations, without what could open them."""

    fields = (
        "email",
        "role",
        "partner",
        "advertiser",
        "invited_by",
        "sent_at",
        "expires_at",
        "accepted_at",
        "accepted_by",
        "revoked_at",
    )
    list_display = ("email", "role", "partner", "advertiser", "sent_at", "accepted_at", "revoked_at")
    list_filter = ("partner",)
    search_fields = ("email",)
