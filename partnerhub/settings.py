"""Django's settings: what partnerhub.lib.config read from the environment, in Django's words.

PROCESS says which kind of process this is, and so which database role it takes: `web`, `worker`, or `operator`
(migrations and the operator's commands, which act as the tables' owner). Each entry point sets it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from partnerhub.lib.config import ConfigurationError, config
from partnerhub.lib.db import django_database
from partnerhub.lib.logs import configure_logging
from partnerhub.lib.vault import VaultError
from tenants.secrets import vault

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    CONFIG = config()
    # Now and not at the first secret: a process without its master keys does not start.
    vault()
except (ConfigurationError, VaultError) as error:
    sys.exit(f"PartnerHub cannot start:\n{error}\nSee docs/configuration.md.")

PROCESS = os.environ.get("PROCESS", "web")
_ADDRESSES = {
    "web": CONFIG.database_url_app,
    "worker": CONFIG.database_url_worker,
    "operator": CONFIG.database_url_owner,
}
if PROCESS not in _ADDRESSES:
    sys.exit(f"PartnerHub cannot start: PROCESS is {PROCESS!r}; it is one of {', '.join(_ADDRESSES)}.")
if (_ADDRESS := _ADDRESSES[PROCESS]) is None:
    sys.exit(
        "PartnerHub cannot start: DATABASE_URL_OWNER is not set, and this command acts as the tables' owner."
    )

SECRET_KEY = CONFIG.secret_key.get_secret_value()
DEBUG = CONFIG.debug
ALLOWED_HOSTS = CONFIG.hosts
CSRF_TRUSTED_ORIGINS = [CONFIG.public_url]

INSTALLED_APPS = [
    "tenants",
    "onboarding",
    "events",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "csp",
    "django_cotton",
    "django_htmx",
]

MIDDLEWARE = [
    "partnerhub.lib.web.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tenants.middleware.TimeZoneMiddleware",
    "tenants.middleware.OperatorScopeMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "partnerhub.urls"
WSGI_APPLICATION = "partnerhub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.context.navigation",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# A worker keeps one plain connection a thread; the web's threads share a small pool (docs/architecture.md).
DATABASES = {
    "default": django_database(
        _ADDRESS.get_secret_value(),
        # Sessions say whose they are: `manage.py doctor` finds the workers by it.
        OPTIONS={"application_name": f"partnerhub {PROCESS}"}
        | ({"pool": {"min_size": 1, "max_size": 12, "timeout": 5}} if PROCESS == "web" else {}),
        CONN_MAX_AGE=0 if PROCESS == "web" else None,
        CONN_HEALTH_CHECKS=PROCESS != "web",
        DISABLE_SERVER_SIDE_CURSORS=True,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "tenants.Person"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "tenants.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "tenants.forms.SignupForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_USER_MODEL_EMAIL_FIELD = "email"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_PREVENT_ENUMERATION = True
# Only in the browser that signed up: from the mail straight to the invitation that it began with.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
# Whose address the limits on guessing count: behind a proxy, the one that the proxy saw.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if CONFIG.trusted_proxy else 0
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(CONFIG.public_url).scheme

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# Two checkouts on one machine share the cookies of one host name: each gets a name of its own.
_PORT = urlsplit(CONFIG.public_url).port
SESSION_COOKIE_NAME = f"partnerhub_session_{_PORT}" if _PORT else "partnerhub_session"
CSRF_COOKIE_NAME = f"partnerhub_csrf_{_PORT}" if _PORT else "partnerhub_csrf"
_HTTPS = CONFIG.public_url.startswith("https://")
SESSION_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_SSL_REDIRECT = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CONFIG.trusted_proxy else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "base-uri": [NONE],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "img-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
    }
}

_EMAIL = urlsplit(CONFIG.email_url.get_secret_value())
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = _EMAIL.hostname or "localhost"
EMAIL_PORT = _EMAIL.port or 25
EMAIL_HOST_USER = _EMAIL.username or ""
EMAIL_HOST_PASSWORD = _EMAIL.password or ""
EMAIL_USE_TLS = _EMAIL.scheme == "smtp+tls"
EMAIL_USE_SSL = _EMAIL.scheme == "smtps"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = CONFIG.default_from_email

LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / ".partnerhub" / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Files are found where they lie and named by their content once `collectstatic` has run (production).
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = CONFIG.debug
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# No value of a request or of a frame stands in a report of an exception, with DEBUG neither.
DEFAULT_EXCEPTION_REPORTER = "partnerhub.lib.exception_reports.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "partnerhub.lib.exception_reports.ReportFilter"

LOGGING_CONFIG = None
configure_logging(level=CONFIG.log_level, style=CONFIG.log_format)
