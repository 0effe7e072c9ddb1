"""The events' addresses."""

from django.urls import path

from events import views

app_name = "events"
urlpatterns = [
    path("partners/<int:partner_id>/", views.partner_home, name="partner_home"),
    path("advertisers/<int:advertiser_id>/", views.advertiser_home, name="advertiser_home"),
    path("pixels/<int:pixel_id>/", views.pixel, name="pixel"),
    path("pixels/<int:pixel_id>/disconnect/", views.disconnect, name="disconnect"),
    path("pixels/<int:pixel_id>/events/", views.log, name="log"),
    path("pixels/<int:pixel_id>/events/<int:log_offset>/", views.detail, name="detail"),
    path("pixels/<int:pixel_id>/ingest-tokens/", views.issue_ingest_token, name="issue_ingest_token"),
    path("ingest-tokens/<int:token_id>/revoke/", views.revoke_ingest_token, name="revoke_ingest_token"),
    path("operator/log/", views.operator_log, name="operator_log"),
]
