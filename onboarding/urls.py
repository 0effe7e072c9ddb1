"""Onboarding's addresses."""

from django.urls import path

from onboarding import api, credential_views, views
from onboarding.views import callbacks, history, partner_setup

app_name = "onboarding"
urlpatterns = [
    path("advertisers/<int:advertiser_id>/connect/", views.connect, name="connect"),
    path("pixels/<int:pixel_id>/connect/", views.reconnect, name="reconnect"),
    # Meta knows this address by heart, and compares it byte by byte (services.openings.CALLBACK_PATH).
    path("connect/callback/", views.callback, name="callback"),
    path("connect/<int:session_id>/", views.session, name="session"),
    path("connect/<int:session_id>/log-in/", views.log_in, name="log_in"),
    path("connect/<int:session_id>/token/", views.enter_token, name="enter_token"),
    path("connect/<int:session_id>/link/", views.forward, name="forward"),
    path("connect/<int:session_id>/link/withdraw/", views.recall, name="recall"),
    path("connect/<int:session_id>/share/", views.share, name="share"),
    path("connect/<int:session_id>/look/", views.look, name="look"),
    path("connect/<int:session_id>/confirm/", views.confirm, name="confirm"),
    path("connect/<int:session_id>/pick/", views.pick, name="pick"),
    path("connect/<int:session_id>/leave/", views.leave, name="leave"),
    path("connect/<int:session_id>/stop/", views.abandon, name="abandon"),
    path("token/<str:token>/", views.colleague, name="colleague"),
    path("partners/<int:partner_id>/set-up/", partner_setup.setup, name="setup"),
    path("partners/<int:partner_id>/set-up/app-review/", partner_setup.review, name="app_review"),
    path("partners/<int:partner_id>/set-up/<slug:step>/", partner_setup.setup_step, name="setup_step"),
    path(
        "partners/<int:partner_id>/set-up/<slug:step>/check/", partner_setup.check_setup, name="check_setup"
    ),
    path("meta/<str:callback_key>/webhook/", callbacks.webhook, name="webhook"),
    path("meta/<str:callback_key>/deauthorise/", callbacks.deauthorise, name="deauthorise"),
    path("meta/<str:callback_key>/data-deletion/", callbacks.data_deletion, name="data_deletion"),
    path(
        "meta/<str:callback_key>/data-deletion/<str:code>/", callbacks.deletion_status, name="deletion_status"
    ),
    path("pixels/<int:pixel_id>/test/", views.test_connection, name="test_connection"),
    path("tests/<int:test_id>/", views.test, name="test"),
    path("pixels/<int:pixel_id>/tests/", history.history, name="tests"),
    path("pixels/<int:pixel_id>/tests/schedule/", history.schedule, name="test_schedule"),
    path("advertisers/<int:advertiser_id>/tests/", history.test_advertiser, name="test_advertiser"),
    path("partners/<int:partner_id>/tests/", history.test_partner, name="test_partner"),
    path(
        "advertisers/<int:advertiser_id>/credentials/",
        credential_views.advertiser_credentials,
        name="advertiser_credentials",
    ),
    path(
        "partners/<int:partner_id>/credentials/",
        credential_views.partner_credentials,
        name="partner_credentials",
    ),
    path("operator/graph/", credential_views.graph_watch, name="graph_watch"),
    path("api/v1/pixels/", api.pixels, name="api_pixels"),
    path("api/v1/pixels/<int:pixel_id>/", api.pixel, name="api_pixel"),
    path("api/v1/pixels/<int:pixel_id>/tests/", api.pixel_tests, name="api_pixel_tests"),
    path("api/v1/tests/", api.tests, name="api_tests"),
    path("api/v1/tests/<int:test_id>/", api.test, name="api_test"),
]
