"""The events' addresses."""

from django.urls import path

from events import api, views, views_erasures, views_replays

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
    path("pixels/<int:pixel_id>/replays/", views_replays.pixel_replays, name="replays"),
    path("replays/<int:replay_id>/", views_replays.replay, name="replay"),
    path("pixels/<int:pixel_id>/dry-run/", views_replays.pixel_dry_run, name="dry_run"),
    path("pixels/<int:pixel_id>/doubts/", views_replays.pixel_doubts, name="doubts"),
    path("pixels/<int:pixel_id>/doubts/decide/", views_replays.decide_doubts, name="decide_doubts"),
    path("advertisers/<int:advertiser_id>/erasures/", views_erasures.erasures, name="erasures"),
    path("erasures/<int:erasure_id>/", views_erasures.erasure, name="erasure"),
    path("api/v1/pixels/<int:pixel_id>/replays/", api.pixel_replays, name="api_replays"),
    path("api/v1/replays/<int:replay_id>/", api.replay, name="api_replay"),
    path("api/v1/pixels/<int:pixel_id>/dry-run/", api.pixel_dry_run, name="api_dry_run"),
    path("api/v1/advertisers/<int:advertiser_id>/erasures/", api.erasures, name="api_erasures"),
    path("api/v1/erasures/<int:erasure_id>/", api.erasure, name="api_erasure"),
    path("operator/log/", views.operator_log, name="operator_log"),
]
