"""Onboarding's addresses."""

from django.urls import path

from onboarding import api, views
from onboarding.views import history

app_name = "onboarding"
urlpatterns = [
    path("advertisers/<int:advertiser_id>/pixels/add/", views.add_pixel, name="add_pixel"),
    path("pixels/<int:pixel_id>/token/", views.paste_token, name="paste_token"),
    path("pixels/<int:pixel_id>/test/", views.test_connection, name="test_connection"),
    path("tests/<int:test_id>/", views.test, name="test"),
    path("pixels/<int:pixel_id>/tests/", history.history, name="tests"),
    path("pixels/<int:pixel_id>/tests/schedule/", history.schedule, name="test_schedule"),
    path("advertisers/<int:advertiser_id>/tests/", history.test_advertiser, name="test_advertiser"),
    path("partners/<int:partner_id>/tests/", history.test_partner, name="test_partner"),
    path("api/v1/pixels/", api.pixels, name="api_pixels"),
    path("api/v1/pixels/<int:pixel_id>/", api.pixel, name="api_pixel"),
    path("api/v1/pixels/<int:pixel_id>/tests/", api.pixel_tests, name="api_pixel_tests"),
    path("api/v1/tests/", api.tests, name="api_tests"),
    path("api/v1/tests/<int:test_id>/", api.test, name="api_test"),
]
