"""Onboarding's addresses."""

from django.urls import path

from onboarding import views

app_name = "onboarding"
urlpatterns = [
    path("advertisers/<int:advertiser_id>/pixels/add/", views.add_pixel, name="add_pixel"),
    path("pixels/<int:pixel_id>/token/", views.paste_token, name="paste_token"),
    path("pixels/<int:pixel_id>/test/", views.test_connection, name="test_connection"),
    path("tests/<int:test_id>/", views.test, name="test"),
]
