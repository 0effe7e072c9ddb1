"""Home, invitations, people."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from partnerhub.lib.db import tenant_scope
from tenants import services
from tenants.access import (
    advertiser_roles,
    find_invitation_by_link,
    get_advertiser_for,
    get_advertiser_member_for,
    get_invitation_for,
    get_partner_for,
    get_partner_member_for,
    partner_roles,
    require_inviter,
)
from tenants.forms import (
    ADVERTISER_ROLES,
    PARTNER_ROLES,
    AdvertiserRoleForm,
    InviteAdvertiserForm,
    InviteToAdvertiserForm,
    InviteToPartnerForm,
    PartnerRoleForm,
)
from tenants.mail import send_invitation
from tenants.models import Advertiser, Invitation, Partner, Person
from tenants.roles import Act, AdvertiserRole, PartnerRole, may_any
from tenants.scoped import scoped, show, signed_in
from tenants.selectors import advertiser_people, partner_people, tenants_of
from tenants.tokens import hash_token

# The browser remembers the invitation that it opened, so that signing up leads back to it. The server keeps
# only the token's hash.
INVITATION_COOKIE = f"{settings.SESSION_COOKIE_NAME}_invitation"
# A sign-up with its mail takes minutes.
INVITATION_COOKIE_SECONDS = 3_600


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """To the person's tenant; a choice where there are several; what this is, for who has not signed in.

    An invitation that was opened before signing in comes first.
    """
    if not isinstance(request.user, Person):
        return render(request, "tenants/landing.html")
    if token := request.COOKIES.get(INVITATION_COOKIE):
        try:
            response = redirect("tenants:invitation", token)
        except NoReverseMatch:
            response = redirect("home")
        response.delete_cookie(INVITATION_COOKIE)
        return response
    with tenant_scope(person_id=request.user.pk):
        tenants = tenants_of(request.user)
    if len(places := tenants.all()) == 1:
        return _home_of(places[0])
    return render(request, "tenants/home.html", {"tenants": tenants})


def _home_of(tenant: Partner | Advertiser) -> HttpResponse:
    return redirect(
        "events:partner_home" if isinstance(tenant, Partner) else "events:advertiser_home", tenant.pk
    )


# Invitations.


@require_http_methods(["GET", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """What the link in an invitation's mail opens: who invites to what, and the button that accepts."""
    person = request.user if isinstance(request.user, Person) else None
    token_hash = hash_token(token)
    reason = ""
    with tenant_scope(person_id=person.pk if person else None, invitation_hash=token_hash):
        found = find_invitation_by_link(token_hash)
        verified = _verified_emails(person) if person else set()
        if found and person and request.method == "POST":
            try:
                services.accept_invitation(
                    invitation=found, person=person, verified_emails=verified, now=timezone.now()
                )
            except services.InvitationUnusable as unusable:
                reason = str(unusable)
            else:
                messages.success(request, f"Welcome to {found.advertiser or found.partner}.")
                return _home_of(found.advertiser or found.partner)
    if found is None:
        return render(request, "tenants/invitation_unknown.html", status=404)
    context = {
        "invitation": found,
        "state": found.state(timezone.now()),
        "tenant": found.advertiser or found.partner,
        "role": dict(PARTNER_ROLES + ADVERTISER_ROLES)[found.role],
        "is_addressee": found.email in verified,
        "reason": reason,
    }
    response = render(request, "tenants/invitation.html", context, status=409 if reason else 200)
    if person is None:
        response.set_cookie(
            INVITATION_COOKIE,
            token,
            max_age=INVITATION_COOKIE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
    # The address holds the token: what is opened from here learns only the site's name. (With no referrer at all
    # browsers hide the origin of the page's own forms, too, which are refused then.)
    response["Referrer-Policy"] = "strict-origin"
    return response


def _verified_emails(person: Person) -> set[str]:
    found = EmailAddress.objects.filter(user=person, verified=True)
    return {address.lower() for address in found.values_list("email", flat=True)}


def _mail_after_commit(request: HttpRequest, invitation: Invitation, token: str) -> None:
    def send() -> None:
        if send_invitation(invitation, token):
            messages.success(request, f"The invitation was sent to {invitation.email}.")
        else:
            messages.error(
                request,
                f"{invitation.email} is invited, but the mail could not be sent. Resend it in a few minutes.",
            )

    transaction.on_commit(send)


@require_http_methods(["GET", "POST"])
@scoped
def invite_advertiser(request: HttpRequest, partner_id: int) -> HttpResponse:
    """Make an advertiser, and invite its first admin."""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id, Act.MANAGE_ADVERTISERS)
    form = InviteAdvertiserForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        data = form.cleaned_data
        try:
            advertiser = services.create_advertiser(
                partner=partner, name=data["name"], default_country=data["default_country"]
            )
        except services.AdvertiserExists:
            form.add_error("name", f"{partner} already has an advertiser of this name.")
        else:
            made, token = services.invite_person(
                email=data["email"],
                role=AdvertiserRole.ADMIN,
                partner=partner,
                advertiser=advertiser,
                invited_by=person,
            )
            _mail_after_commit(request, made, token)
            return redirect("events:partner_home", partner.pk)
    context = {"partner": partner, "form": form}
    return show(request, partner, "tenants/invite_advertiser.html", context, 422 if form.is_bound else 200)


@require_POST
@scoped
def resend_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Mail a fresh link; the old one stops working."""
    found = get_invitation_for(signed_in(request), invitation_id)
    try:
        token = services.renew_invitation(invitation=found)
    except services.InvitationUnusable as reason:
        messages.error(request, str(reason))
    else:
        _mail_after_commit(request, found, token)
    return _people_page(found)


@require_POST
@scoped
def revoke_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Withdraw an invitation."""
    found = get_invitation_for(signed_in(request), invitation_id)
    if services.revoke_invitation(invitation=found):
        messages.success(request, f"The invitation of {found.email} was withdrawn.")
    return _people_page(found)


def _people_page(found: Invitation) -> HttpResponse:
    if found.advertiser_id:
        return redirect("tenants:advertiser_people", found.advertiser_id)
    return redirect("tenants:partner_people", found.partner_id)


# People.


@require_http_methods(["GET", "POST"])
@scoped
def partner_people_page(request: HttpRequest, partner_id: int) -> HttpResponse:
    """The partner's people; a POST invites one."""
    person = signed_in(request)
    act = Act.MANAGE_PEOPLE if request.method == "POST" else Act.SEE
    partner = get_partner_for(person, partner_id, act)
    form = InviteToPartnerForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            made, token = services.invite_person(
                email=form.cleaned_data["email"],
                role=PartnerRole(form.cleaned_data["role"]),
                partner=partner,
                invited_by=person,
            )
        except services.AlreadyMember as reason:
            form.add_error("email", str(reason))
        else:
            _mail_after_commit(request, made, token)
            return redirect("tenants:partner_people", partner.pk)
    context = {
        "partner": partner,
        "people": partner_people(partner),
        "roles": PARTNER_ROLES,
        "form": form,
        "may_manage": may_any(partner_roles(person, partner.pk), Act.MANAGE_PEOPLE),
        "now": timezone.now(),
    }
    return show(request, partner, "tenants/partner_people.html", context, 422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@scoped
def advertiser_people_page(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """The advertiser's people; a POST invites one."""
    person = signed_in(request)
    advertiser = get_advertiser_for(person, advertiser_id)
    if request.method == "POST":
        require_inviter(person, advertiser)
    form = InviteToAdvertiserForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            made, token = services.invite_person(
                email=form.cleaned_data["email"],
                role=AdvertiserRole(form.cleaned_data["role"]),
                partner=advertiser.partner,
                advertiser=advertiser,
                invited_by=person,
            )
        except services.AlreadyMember as reason:
            form.add_error("email", str(reason))
        else:
            _mail_after_commit(request, made, token)
            return redirect("tenants:advertiser_people", advertiser.pk)
    roles = advertiser_roles(person, advertiser)
    context = {
        "advertiser": advertiser,
        "people": advertiser_people(advertiser),
        "roles": ADVERTISER_ROLES,
        "form": form,
        "may_manage": may_any(roles, Act.MANAGE_PEOPLE) or may_any(roles, Act.MANAGE_ADVERTISERS),
        "now": timezone.now(),
    }
    return show(request, advertiser, "tenants/advertiser_people.html", context, 422 if form.is_bound else 200)


@require_POST
@scoped
def change_partner_member(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Give a member of the partner another role, or remove it (`remove` in the form)."""
    person = signed_in(request)
    membership = get_partner_member_for(person, membership_id)
    form = PartnerRoleForm(request.POST)
    try:
        if "remove" in request.POST:
            services.remove_partner_member(membership=membership)
            messages.success(request, f"{membership.person} no longer has a role at {membership.partner}.")
            if membership.person_id == person.pk:
                return redirect("home")
        elif form.is_valid():
            role = PartnerRole(form.cleaned_data["role"])
            services.change_partner_role(membership=membership, role=role)
            messages.success(request, f"{membership.person} is {role} now.")
        else:
            messages.error(request, "Choose one of the roles.")
    except services.RoleUnchanged as reason:
        messages.error(request, str(reason))
    return redirect("tenants:partner_people", membership.partner_id)


@require_POST
@scoped
def change_advertiser_member(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Give a member of the advertiser another role, or remove it (`remove` in the form)."""
    person = signed_in(request)
    membership = get_advertiser_member_for(person, membership_id)
    form = AdvertiserRoleForm(request.POST)
    try:
        if "remove" in request.POST:
            services.remove_advertiser_member(membership=membership)
            messages.success(request, f"{membership.person} no longer has a role at {membership.advertiser}.")
            if membership.person_id == person.pk:
                return redirect("home")
        elif form.is_valid():
            role = AdvertiserRole(form.cleaned_data["role"])
            services.change_advertiser_role(membership=membership, role=role)
            messages.success(request, f"{membership.person} is {role} now.")
        else:
            messages.error(request, "Choose one of the roles.")
    except services.RoleUnchanged as reason:
        messages.error(request, str(reason))
    return redirect("tenants:advertiser_people", membership.advertiser_id)
