"""Opening secrets for the adapters: a credential's, a session's, a partner's. For workers only.

Each raises VaultError, which names the row, where a secret that is needed cannot be opened.
"""

from __future__ import annotations

from collections.abc import Collection

from onboarding.models import Credential, OnboardingSession, Option
from onboarding.options.base import Opening, PartnerSide, SessionView
from onboarding.services.tokens import open_token
from partnerhub.lib.config import config
from partnerhub.lib.vault import Secret, VaultError
from tenants.models import Partner, PartnerCredential, partner_identity
from tenants.secrets import vault

# Meta compares it byte by byte with the app's list: one for all tenants (META's "Login Security", strict mode).
CALLBACK_PATH = "/connect/callback/"

_Kind = PartnerCredential.Kind
# What of the partner's an option needs to open. The others' faults are not its own.
NEEDED: dict[Option, frozenset[str]] = {
    Option.BUSINESS_EXTENSION: frozenset({_Kind.APP_SECRET}),
    Option.LOGIN_FOR_BUSINESS: frozenset({_Kind.APP_SECRET}),
    Option.PASTED_TOKEN: frozenset(),
    Option.SHARED_PIXEL: frozenset(_Kind),
}


def redirect_uri() -> str:
    """Where Meta's dialog sends browsers back to."""
    return config().public_url + CALLBACK_PATH


def partner_side(partner: Partner, kinds: Collection[str] = frozenset(_Kind)) -> PartnerSide:
    """The partner as adapters see it, with its secrets of these kinds opened; None where it has none."""
    opened: dict[str, Secret] = {}
    for row in PartnerCredential.objects.filter(partner=partner, kind__in=list(kinds)):
        opened[row.kind] = vault().open(bytes(row.sealed), identity=partner_identity(partner.pk, row.kind))
    return PartnerSide(
        partner_agent=partner.partner_agent,
        app_id=partner.meta_app_id,
        business_id=partner.business_id,
        login_config_id=partner.login_config_id,
        assigning_system_user_id=partner.assigning_system_user_id,
        sending_system_user_id=partner.sending_system_user_id,
        redirect_uri=redirect_uri(),
        app_secret=opened.get(_Kind.APP_SECRET),
        assigning_token=opened.get(_Kind.ASSIGNING_TOKEN),
        sending_token=opened.get(_Kind.SENDING_TOKEN),
    )


def app_secret_of(partner: Partner) -> Secret | None:
    """The app's secret, for verifying what Meta signed. Raises VaultError."""
    row = PartnerCredential.objects.filter(partner=partner, kind=_Kind.APP_SECRET).first()
    return vault().open(bytes(row.sealed), identity=row.vault_identity) if row else None


def session_view(session: OnboardingSession, partner: Partner) -> SessionView:
    """The session as its adapter sees it."""
    kinds = NEEDED[Option(session.option)] if session.option else frozenset()
    return SessionView(
        session_id=session.pk,
        advertiser_name=session.advertiser.name,
        facts={**session.facts, "state": session.state},
        partner=partner_side(partner, kinds),
        grant=open_token(session.grant) if session.grant else None,
        candidate=open_token(session.candidate) if session.candidate else None,
    )


def opening_of_session(session: OnboardingSession, partner: Partner) -> Opening:
    """What the session is about to connect with: its candidate, or the partner's sending token."""
    option = Option(session.option)
    side = partner_side(partner, NEEDED[option])
    return Opening(
        meta_id=str(session.facts.get("meta_id", "")),
        partner=side,
        token=_either(open_token(session.candidate) if session.candidate else None, side),
        client_business_id=str(session.facts.get("business_id", "")),
        system_user_id=str(session.facts.get("system_user_id", "")),
        external_business_id=str(session.facts.get("external_business_id", "")),
    )


def opening_of_credential(credential: Credential, partner: Partner) -> Opening:
    """What the credential opens its pixel with. It comes with its pixel and its secret."""
    side = partner_side(partner, NEEDED[Option(credential.option)])
    return Opening(
        meta_id=credential.pixel.meta_id,
        partner=side,
        token=_either(open_token(credential.secret) if credential.secret else None, side),
        client_business_id=credential.client_business_id,
        system_user_id=credential.system_user_id,
        external_business_id=credential.external_business_id,
    )


def _either(own: Secret | None, side: PartnerSide) -> Secret:
    token = own or side.sending_token
    if token is None:
        raise VaultError("There is no token.")
    return token
