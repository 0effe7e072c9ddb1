"""The tenants' addresses."""

from django.urls import path

from tenants import brand_views, key_views, views

app_name = "tenants"
urlpatterns = [
    path("account/api-keys/", key_views.api_keys, name="api_keys"),
    path("account/api-keys/<int:key_id>/revoke/", key_views.revoke_api_key, name="revoke_api_key"),
    path("invitations/<str:token>/", views.invitation, name="invitation"),
    path("invitations/<int:invitation_id>/resend/", views.resend_invitation, name="resend_invitation"),
    path("invitations/<int:invitation_id>/revoke/", views.revoke_invitation, name="revoke_invitation"),
    path("partners/<int:partner_id>/advertisers/invite/", views.invite_advertiser, name="invite_advertiser"),
    path("partners/<int:partner_id>/people/", views.partner_people_page, name="partner_people"),
    path("partners/<int:partner_id>/brand/<slug:digest>.css", brand_views.brand_css, name="brand_css"),
    path("partners/<int:partner_id>/logo/<slug:digest>", brand_views.logo, name="logo"),
    path("advertisers/<int:advertiser_id>/people/", views.advertiser_people_page, name="advertiser_people"),
    path("partner-members/<int:membership_id>/", views.change_partner_member, name="change_partner_member"),
    path(
        "advertiser-members/<int:membership_id>/",
        views.change_advertiser_member,
        name="change_advertiser_member",
    ),
]
