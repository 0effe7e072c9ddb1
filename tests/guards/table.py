"""The guards: what each protects, how it is taken out, and the tests that must fail without it.

A new guard is a row here. Where two guards stand behind each other, the row takes out what the test can see: both,
where either alone keeps a stranger out.
"""

from __future__ import annotations

from typing import Final

from tests.guards.guard import Guard

CLAIM: Final = "events/delivery/claim.py"
SEND: Final = "events/delivery/send.py"
SWEEP: Final = "events/delivery/sweep.py"
EVENTS_LOCKS: Final = "events/migrations/0003_locks_and_grants.py"
PIXELS_LOCKS: Final = "onboarding/migrations/0002_row_level_security.py"
SETUP_LOCKS: Final = "onboarding/migrations/0004_partner_setup.py"
TENANTS_LOCKS: Final = "tenants/migrations/0002_row_level_security.py"
SESSIONS: Final = "onboarding/services/sessions.py"

WRITES_TEST: Final = "tests/events/collector/test_writer.py::"
CLAIMS_TEST: Final = "tests/events/delivery/test_claim.py::"
TURNS_TEST: Final = "tests/events/delivery/test_engine.py::"
LANES_TEST: Final = "tests/events/delivery/test_lanes.py::"
LOOKS_TEST: Final = "tests/events/delivery/test_look.py::"
SEATS_TEST: Final = "tests/events/delivery/test_seats.py::"
SENDS_TEST: Final = "tests/events/delivery/test_send.py::"
SETTLES_TEST: Final = "tests/events/delivery/test_settle.py::"
SWEEPS_TEST: Final = "tests/events/delivery/test_sweep.py::"
VAULT_TEST: Final = "tests/lib/test_vault.py::"
CALLBACKS_TEST: Final = "tests/onboarding/test_callbacks.py::"
GUARDIAN_TEST: Final = "tests/onboarding/test_guardian.py::"
GUARDIAN_LOOKS_TEST: Final = "tests/onboarding/test_guardian_looks.py::"
PASTED_TEST: Final = "tests/onboarding/test_pasted_token.py::"
SERVICES_TEST: Final = "tests/onboarding/test_services.py::"
SESSIONS_TEST: Final = "tests/onboarding/test_sessions.py::"
SIGNATURES_TEST: Final = "tests/onboarding/test_signatures.py::"
PEOPLE_TEST: Final = "tests/tenants/test_services.py::"
LOCKS_TEST: Final = "tests/test_locks.py::"
NOTHING_BY_NOBODY: Final = f"{LOCKS_TEST}test_without_scoping_somebody_without_a_role_reads_nothing"
NOTHING_ADDED: Final = f"{LOCKS_TEST}test_without_scoping_a_stranger_adds_nothing_to_a_foreign_tenant"
TAKEN_UP_ALONE: Final = f"{LOCKS_TEST}test_a_worker_reads_the_rows_of_the_advertiser_that_it_took_up"
NOTHING_BY_ACCESS: Final = f"{LOCKS_TEST}test_without_row_security_a_stranger_finds_nothing"

DELIVERY: Final = (
    Guard(
        "lease",
        "While a worker's lease lasts, nobody takes its delivery over.",
        SWEEP,
        """WHERE state IN ('claimed', 'sending') AND lease_until < clock_timestamp()
ORDER BY lease_until LIMIT %s
\"\"\"
_LOCK_EXPIRED: Final = \"\"\"
SELECT pixel_id, state, doubts FROM events_delivery
WHERE id = %s AND state IN ('claimed', 'sending') AND lease_until < clock_timestamp()
""",
        """WHERE state IN ('claimed', 'sending')
ORDER BY lease_until LIMIT %s
\"\"\"
_LOCK_EXPIRED: Final = \"\"\"
SELECT pixel_id, state, doubts FROM events_delivery
WHERE id = %s AND state IN ('claimed', 'sending')
""",
        (f"{SWEEPS_TEST}test_a_live_lease_is_left_alone",),
    ),
    Guard(
        "lease that is over",
        "The heartbeat of a worker that slept wakes no lease that has ended.",
        "events/delivery/leases.py",
        " AND delivery.lease_until > clock_timestamp()",
        "",
        (f"{SEATS_TEST}test_a_heartbeat_wakes_no_lease_that_is_over_and_none_of_anothers",),
    ),
    Guard(
        "lease about to end",
        "A worker that stood still since its mark sends nothing: another may be about to.",
        SEND,
        "if lease_left < deadline + LEASE_SPARE_SECONDS / 2:",
        "if False:",
        (f"{SETTLES_TEST}test_a_process_that_stood_still_since_the_mark_does_not_send",),
    ),
    Guard(
        "fence",
        "Whoever lost its lease settles nothing, also where another sends the same delivery now.",
        "events/delivery/settle.py",
        "WHERE id = %(delivery)s AND lease_token = %(token)s AND state = 'sending'",
        "WHERE id = %(delivery)s AND state = 'sending'",
        (f"{SETTLES_TEST}test_a_late_settle_does_not_touch_what_another_sends_now",),
    ),
    Guard(
        "fence before sending",
        "Whoever lost its lease sends nothing, also where another has claimed the same delivery.",
        SEND,
        "WHERE id = %(delivery)s AND lease_token = %(token)s AND state = 'claimed'",
        "WHERE id = %(delivery)s AND state = 'claimed'",
        (f"{SETTLES_TEST}test_a_claim_whose_lease_passed_on_is_not_sent",),
    ),
    Guard(
        "sweep",
        "A pixel whose hint was lost is delivered all the same.",
        SWEEP,
        "    for pixel_id in pixels:\n        send_hint(DELIVER, pixel_id)\n",
        "",
        (f"{SWEEPS_TEST}test_a_sweep_hints_at_pixels_whose_hint_was_lost",),
    ),
    Guard(
        "one sweep at a time",
        "Two sweeps at once do the work of one.",
        SWEEP,
        "SELECT pg_try_advisory_xact_lock(hashtext('events.sweep'))",
        "SELECT true",
        (f"{SWEEPS_TEST}test_two_sweeps_at_once_are_one",),
    ),
    Guard(
        "idle look",
        "Without any broker, events are delivered all the same.",
        "events/delivery/look.py",
        "if PROGRESS.idle_seconds() >= idle:",
        "if False:",
        (f"{LOOKS_TEST}test_without_any_broker_a_worker_delivers_all_the_same",),
    ),
    Guard(
        "row lock of a claim",
        "A claim and a door's commit to the same pixel take turns: no event is left asleep.",
        CLAIM,
        "FROM events_pixellog WHERE pixel_id = %s FOR NO KEY UPDATE",
        "FROM events_pixellog WHERE pixel_id = %s",
        (f"{CLAIMS_TEST}test_a_commit_beside_the_claim_that_finds_nothing_leaves_the_pixel_awake",),
    ),
    Guard(
        "row lock of a door",
        "Two doors that append to the same pixel take turns: offsets are dense, and no event is stored twice.",
        "events/collector/append.py",
        "ORDER BY pixel_id FOR UPDATE {waiting}",
        "ORDER BY pixel_id",
        (
            f"{WRITES_TEST}test_offsets_are_dense_and_receive_times_ordered_with_two_collectors",
            f"{WRITES_TEST}test_the_same_event_at_two_doors_at_once_is_stored_once",
        ),
    ),
    Guard(
        "repeat look-up",
        "An event that comes again within 48 hours is acknowledged, counted and not stored.",
        "events/collector/append.py",
        "WHERE pixel_id = asked.pixel_id AND repeat_key = asked.repeat_key",
        "WHERE pixel_id = asked.pixel_id AND repeat_key = asked.repeat_key AND false",
        (f"{WRITES_TEST}test_a_repeat_is_known_for_forty_eight_hours",),
    ),
    Guard(
        "doubt mark",
        "What a dead worker had marked as on its way may be at Meta: it is in doubt, and not merely waiting.",
        SWEEP,
        'if state == "claimed":',
        "if state:",
        (f"{SWEEPS_TEST}test_a_send_of_a_dead_worker_is_in_doubt_and_goes_again_soon",),
    ),
    Guard(
        "doubt that stays",
        "What was ever in doubt waits as in doubt, whatever Meta says to the next attempt.",
        "events/delivery/settle.py",
        "_SETTLE.format(state=\"CASE WHEN doubts > 0 THEN 'doubt' ELSE 'waiting' END\")",
        "_SETTLE.format(state=\"'waiting'\")",
        (f"{TURNS_TEST}test_a_refusal_after_a_doubt_leaves_it_in_doubt",),
    ),
    Guard(
        "hold before sending",
        "A pixel that is held between claim and mark sends nothing.",
        SEND,
        "if address.is_held or address.credential_id is None:",
        "if address.credential_id is None:",
        (f"{SETTLES_TEST}test_a_pixel_held_between_claim_and_mark_is_not_sent",),
    ),
    Guard(
        "hole in the log",
        "A log that lacks events between its ends is not claimed past the hole.",
        CLAIM,
        "if first != lane.start or last - first + 1 != count:",
        "if False:",
        (f"{CLAIMS_TEST}test_a_log_with_a_hole_is_not_claimed",),
    ),
    Guard(
        "width of a pixel",
        "A pixel has no more sends at once than its share.",
        CLAIM,
        "if self._view.leases >= self._log.width:",
        "if False:",
        (f"{TURNS_TEST}test_a_pixel_has_no_more_sends_at_once_than_its_share",),
    ),
    Guard(
        "ceiling of a partner",
        "Two claims at once do not both take the last place under a partner's ceiling.",
        CLAIM,
        "            self._run(_LOCK_PARTNER, [self._partner.id])\n",
        "",
        (f"{LANES_TEST}test_two_claims_at_once_do_not_both_take_the_last_place_under_a_ceiling",),
    ),
)

# The first lock: querysets, and the roles that access asks for. Each is taken out alone where the second look behind
# it does not see the row.
SCOPING: Final = (
    Guard(
        "scoping of partners",
        "A partner is found by the people with a role there.",
        "tenants/models.py",
        "return self.filter(memberships__person=person)",
        "return self.all()",
        (f"{NOTHING_BY_ACCESS}[tenants.access.get_seen_partner_for]",),
    ),
    Guard(
        "scoping of advertisers",
        "An advertiser is found by its own people and its partner's.",
        "tenants/models.py",
        """        return self.filter(
            models.Exists(
                AdvertiserMembership.objects.filter(advertiser=models.OuterRef("pk"), person=person)
            )
            | models.Exists(
                PartnerMembership.objects.filter(partner=models.OuterRef("partner"), person=person)
            )
        )
""",
        "        return self.all()\n",
        (f"{NOTHING_BY_ACCESS}[tenants.access.get_seen_partner_for]",),
    ),
    Guard(
        "scoping of invitations",
        "An invitation is found by those who may manage the people it is for.",
        "tenants/access.py",
        """        get_partner_for(person, invitation.partner_id, Act.MANAGE_PEOPLE)
    else:
        get_advertiser_for(person, invitation.advertiser.pk)
        require_inviter(person, invitation.advertiser)
""",
        "        pass\n",
        (f"{NOTHING_BY_ACCESS}[tenants.access.get_invitation_for]",),
    ),
    Guard(
        "scoping of a partner's members",
        "A partner's member is found by those who may manage its people.",
        "tenants/access.py",
        "    get_partner_for(person, found.partner_id, Act.MANAGE_PEOPLE)\n",
        "",
        (f"{NOTHING_BY_ACCESS}[tenants.access.get_partner_member_for]",),
    ),
    Guard(
        "scoping of an advertiser's members",
        "An advertiser's member is found by those who may invite to it.",
        "tenants/access.py",
        """    get_advertiser_for(person, membership.advertiser_id)
    require_inviter(person, membership.advertiser)
""",
        "",
        (f"{NOTHING_BY_ACCESS}[tenants.access.get_advertiser_member_for]",),
    ),
    Guard(
        "scoping of pixels",
        "A pixel is found by its advertiser's and its partner's people.",
        "onboarding/access.py",
        """.for_person(person).select_related("advertiser__partner").filter(pk=pixel_id).first()
    if pixel is None:
        raise Http404
    require(advertiser_roles(person, pixel.advertiser), act, tenant=pixel.advertiser)
""",
        ".filter(pk=pixel_id).first()\n",
        (f"{NOTHING_BY_ACCESS}[onboarding.access.get_pixel_for]",),
    ),
    Guard(
        "scoping of connection tests",
        "A connection test is found by those who see its advertiser.",
        "onboarding/access.py",
        """        ConnectionTest.objects.filter(advertiser__in=reached)
        .select_related("advertiser__partner", "pixel", "session")
        .filter(pk=test_id)
        .first()
    )
    if found is None:
        raise Http404
    require(advertiser_roles(person, found.advertiser), Act.SEE, tenant=found.advertiser)
""",
        """        ConnectionTest.objects.filter(pk=test_id).first()
    )
""",
        (f"{NOTHING_BY_ACCESS}[onboarding.access.get_connection_test_for]",),
    ),
    Guard(
        "scoping of sessions",
        "The session of a connection is found by those who see its advertiser.",
        "onboarding/access.py",
        """        OnboardingSession.objects.filter(advertiser__in=Advertiser.objects.for_person(person))
        .select_related("advertiser__partner", "pixel", "credential__pixel")
        .filter(pk=session_id)
        .first()
    )
    if found is None:
        raise Http404
    require(advertiser_roles(person, found.advertiser), act, tenant=found.advertiser)
""",
        """        OnboardingSession.objects.filter(pk=session_id).first()
    )
""",
        (f"{NOTHING_BY_ACCESS}[onboarding.access.get_session_for]",),
    ),
    Guard(
        "scoping of ingest tokens",
        "An ingest token is found by those who reach its pixel.",
        "events/access.py",
        "    get_pixel_for(person, token.pixel_id, act)\n",
        "",
        (f"{NOTHING_BY_ACCESS}[events.access.get_ingest_token_for]",),
    ),
    Guard(
        "scoping of events",
        "An event is found by those who see its pixel.",
        "events/access.py",
        "    pixel = get_pixel_for(person, pixel_id)\n",
        "    pixel = Pixel.objects.get(pk=pixel_id)\n",
        (f"{NOTHING_BY_ACCESS}[events.access.get_event_for]",),
    ),
    Guard(
        "scoping of replays",
        "A replay is found by those who reach its pixel.",
        "events/access.py",
        "    found.pixel = get_pixel_for(person, found.pixel_id, act)\n",
        "",
        (f"{NOTHING_BY_ACCESS}[events.access.get_replay_for]",),
    ),
    Guard(
        "scoping of erasures",
        "An erasure's receipt is found by those who see its advertiser.",
        "events/access.py",
        "    found.advertiser = get_advertiser_for(person, found.advertiser_id)\n",
        "",
        (f"{NOTHING_BY_ACCESS}[events.access.get_erasure_for]",),
    ),
)

# The second lock, by role. The tests read without any scoping.
ROW_SECURITY: Final = (
    Guard(
        "row security, switched on",
        "Policies count on every tenant's table.",
        "partnerhub/lib/locks.py",
        'for word in ("ENABLE", "FORCE"):',
        'for word in ("FORCE",):',
        (f"{LOCKS_TEST}test_row_security_is_active_for_every_running_process",),
    ),
    Guard(
        "row security, forced",
        "Policies count for the tables' owner, too.",
        "partnerhub/lib/locks.py",
        'for word in ("ENABLE", "FORCE"):',
        'for word in ("ENABLE",):',
        (f"{LOCKS_TEST}test_every_table_is_a_tenants_and_locked_or_has_its_reason",),
    ),
    Guard(
        "app role: partners",
        "The web site sees the partners of the person who is signed in.",
        TENANTS_LOCKS,
        '"id = ANY ((SELECT tenants_seen_partners())::bigint[]) OR id = (SELECT tenants_called_partner())"',
        '"true"',
        (NOTHING_BY_NOBODY,),
    ),
    Guard(
        "app role: a partner's own",
        "The web site sees a partner's people, invitations and secrets for its own people alone.",
        TENANTS_LOCKS,
        'REACHED_PARTNER = "partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"',
        'REACHED_PARTNER = "true"',
        (NOTHING_BY_NOBODY, NOTHING_ADDED),
    ),
    Guard(
        "app role: advertisers' people",
        "The web site sees an advertiser's people for those who reach it.",
        TENANTS_LOCKS,
        'REACHED_ADVERTISER = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"',
        'REACHED_ADVERTISER = "true"',
        (NOTHING_BY_NOBODY, NOTHING_ADDED),
    ),
    Guard(
        "app role: advertisers",
        "The web site sees the advertisers that the person reaches.",
        TENANTS_LOCKS,
        """                "id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
                " OR partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"
                " OR id = (SELECT tenants_invited_advertiser())"
""",
        '                "true"\n',
        (NOTHING_BY_NOBODY,),
    ),
    Guard(
        "app role: pixels",
        "The web site sees pixels, credentials and sessions of the person's advertisers.",
        PIXELS_LOCKS,
        'REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"',
        'REACHED = "true"',
        (NOTHING_BY_NOBODY, NOTHING_ADDED),
    ),
    Guard(
        "app role: what is added",
        "The web site adds no row to another tenant, also to a table that it may only add to.",
        PIXELS_LOCKS,
        '("app", "INSERT", None, REACHED),',
        '("app", "INSERT", None, "true"),',
        (NOTHING_ADDED,),
    ),
    Guard(
        "app role: mails that are owed",
        "The web site sees what mails are owed for the person's advertisers.",
        "onboarding/migrations/0003_guardian.py",
        'REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"',
        'REACHED = "true"',
        (NOTHING_BY_NOBODY,),
    ),
    Guard(
        "app role: a partner's set-up",
        "The web site sees a partner's set-up for its own people alone.",
        SETUP_LOCKS,
        'REACHED = "partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"',
        'REACHED = "true"',
        (NOTHING_BY_NOBODY, NOTHING_ADDED),
    ),
    Guard(
        "app role: events",
        "The web site sees the log, its books and ingest tokens of the person's advertisers.",
        EVENTS_LOCKS,
        'REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"',
        'REACHED = "true"',
        (NOTHING_BY_NOBODY, NOTHING_ADDED),
    ),
    Guard(
        "app role: sealed tokens",
        "The web site puts tokens in, and reads none.",
        EVENTS_LOCKS,
        '"app": "SELECT (id, advertiser_id, vault_identity, last_four, created_at), INSERT, DELETE",',
        '"app": "SELECT, INSERT, DELETE",',
        (f"{LOCKS_TEST}test_the_web_site_reads_nothing_that_it_seals",),
    ),
    Guard(
        "app role: operators",
        "No web process makes an operator.",
        TENANTS_LOCKS,
        'NO_NEW_OPERATOR = "NOT (is_superuser OR is_staff) OR tenants_is_operator(id)"',
        'NO_NEW_OPERATOR = "true"',
        (f"{LOCKS_TEST}test_the_web_makes_no_operator",),
    ),
    Guard(
        "worker role: partners",
        "A worker sees the partner of what it took up.",
        TENANTS_LOCKS,
        'WORKED = "((SELECT tenants_worked_partners())::bigint[])"',
        'WORKED = "((SELECT tenants_all_partners())::bigint[])"',
        (TAKEN_UP_ALONE,),
    ),
    Guard(
        "worker role: pixels",
        "A worker sees the secrets and links of the advertiser that it took up.",
        PIXELS_LOCKS,
        'TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"',
        'TAKEN_UP = "true"',
        (TAKEN_UP_ALONE,),
    ),
    Guard(
        "worker role: what it writes",
        "A worker reads which pixels there are, and writes those of the advertiser that it took up.",
        PIXELS_LOCKS,
        """        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
        ("door", "SELECT", "true", None),
""",
        """        ("worker", "INSERT", None, "true"),
        ("worker", "UPDATE", "true", "true"),
        ("door", "SELECT", "true", None),
""",
        (
            f"{LOCKS_TEST}test_a_worker_changes_rows_of_the_advertiser_that_it_took_up",
            f"{LOCKS_TEST}test_a_worker_adds_nothing_to_an_advertiser_that_it_did_not_take_up",
        ),
    ),
    Guard(
        "worker role: mails that are owed",
        "A worker owes mails for the advertiser, or the partner, that it took up.",
        "onboarding/migrations/0003_guardian.py",
        """    f"advertiser_id = (SELECT tenants_advertiser()) OR {OF_PARTNER.format('tenants_worked_partners()')}"
""",
        '    "true"\n',
        (
            f"{LOCKS_TEST}test_a_worker_changes_rows_of_the_advertiser_that_it_took_up",
            f"{LOCKS_TEST}test_a_worker_adds_nothing_to_an_advertiser_that_it_did_not_take_up",
        ),
    ),
    Guard(
        "worker role: a partner's set-up",
        "A worker sees the set-up of the partner that it took up.",
        SETUP_LOCKS,
        'WORKED = "partner_id = ANY ((SELECT tenants_worked_partners())::bigint[])"',
        'WORKED = "true"',
        (TAKEN_UP_ALONE,),
    ),
    Guard(
        "worker role: events",
        "A worker sees the events of the advertiser that it took up.",
        EVENTS_LOCKS,
        'TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"',
        'TAKEN_UP = "true"',
        (TAKEN_UP_ALONE,),
    ),
    Guard(
        "door role",
        "The door appends events, and reads none.",
        EVENTS_LOCKS,
        '"events_event": {"app": "SELECT", "worker": "SELECT, UPDATE (payload)"},',
        '"events_event": {"app": "SELECT", "worker": "SELECT, UPDATE (payload)", "door": "SELECT"},',
        (f"{LOCKS_TEST}test_the_door_reads_no_event_and_no_person",),
    ),
    Guard(
        "scope of a transaction",
        "Whose rows are shown is forgotten with the transaction, and not with the connection.",
        "partnerhub/lib/db.py",
        '["set_config(%s, %s, true)"]',
        '["set_config(%s, %s, false)"]',
        (f"{LOCKS_TEST}test_the_scope_ends_with_its_transaction",),
    ),
    Guard(
        "scope inside a scope",
        "A unit of work for one tenant is not opened inside that of another.",
        "partnerhub/lib/db.py",
        "if (current := _current.get()) is not None and current != wanted:",
        "if (current := _current.get()) is not None and current is wanted:",
        (f"{LOCKS_TEST}test_a_scope_in_anothers_is_refused",),
    ),
)

CONNECTING: Final = (
    Guard(
        "vault: identity",
        "A sealed secret opens in its own row alone.",
        "partnerhub/lib/vault/envelope.py",
        "return _head(version, name) + identity.encode()",
        "return _head(version, name)",
        (
            f"{VAULT_TEST}test_a_moved_row_fails_closed",
            f"{SERVICES_TEST}test_a_sealed_token_opens_in_no_other_row",
        ),
    ),
    Guard(
        "OAuth state: browser",
        "Meta's answer is taken from the browser, and the person, that went there.",
        SESSIONS,
        "        or not constant_time_compare(found.browser_hash, _browser_hash(browser, person))\n",
        "",
        (
            f"{SESSIONS_TEST}test_another_persons_callback_is_refused_also_of_a_colleague_and_in_another_browser",
        ),
    ),
    Guard(
        "OAuth state: once",
        "Meta's answer is taken once; the second time shows what came of the first.",
        SESSIONS,
        "    if found.state != State.AT_META:\n        return found\n",
        "",
        (f"{SESSIONS_TEST}test_a_callback_is_taken_once_and_the_second_shows_the_first_ones_result",),
    ),
    Guard(
        "OAuth state: an hour",
        "Meta's answer is not taken later than the dialog lives.",
        SESSIONS,
        "if found.dialog_opened_at is None or found.dialog_opened_at < timezone.now() - DIALOG_LIFE:",
        "if found.dialog_opened_at is None:",
        (f"{SESSIONS_TEST}test_a_callback_that_comes_an_hour_later_is_too_late",),
    ),
    Guard(
        "colleague's link: once",
        "The link for a colleague takes one token.",
        SESSIONS,
        '        if link.state != TokenLink.State.OPEN:\n            raise SessionRefused("link_used")\n',
        "",
        (f"{PASTED_TEST}test_a_link_is_good_once",),
    ),
    Guard(
        "colleague's link: one row",
        "Who holds a link reaches that one row.",
        PIXELS_LOCKS,
        'BY_LINK = "token_hash = (SELECT tenants_link())"',
        'BY_LINK = "true"',
        (f"{PASTED_TEST}test_who_holds_a_link_reaches_no_other_row",),
    ),
    Guard(
        "invitation: once",
        "An invitation's link gives one role, once.",
        "tenants/services.py",
        '    if state != "open":\n        raise InvitationUnusable(UNUSABLE[state])\n',
        "",
        (
            f"{PEOPLE_TEST}test_an_invitation_works_once",
            f"{PEOPLE_TEST}test_an_invitation_that_was_read_before_it_was_used_works_once",
        ),
    ),
    Guard(
        "invitation: one row",
        "Who holds an invitation's link sees that invitation alone.",
        TENANTS_LOCKS,
        'INVITED_BY_LINK = "token_hash = (SELECT tenants_invitation())"',
        'INVITED_BY_LINK = "true"',
        (f"{LOCKS_TEST}test_a_link_shows_its_own_invitation_and_names_only",),
    ),
    Guard(
        "appsecret_proof",
        "A token of another app is sent without a proof of ours, with which Meta would refuse it.",
        SEND,
        "CASE WHEN credential.option <> 'pasted_token' THEN app.sealed END",
        "app.sealed",
        (f"{SENDS_TEST}test_a_token_of_the_partners_own_app_goes_with_a_proof_and_a_pasted_one_without",),
    ),
    Guard(
        "hold: credential in use",
        "The refusal of a token that was replaced meanwhile holds nothing.",
        "onboarding/services/pixels.py",
        "        .exclude(state=Credential.State.RETIRED)\n",
        "",
        (f"{TURNS_TEST}test_a_dead_token_that_was_replaced_on_the_way_holds_nothing",),
    ),
    Guard(
        "webhook: signature",
        "News are taken from Meta, for this partner's app, alone.",
        "onboarding/views/callbacks.py",
        "if secret is None or not is_signed(request.body, signature, secret.reveal().encode()):",
        "if secret is None:",
        (
            f"{CALLBACKS_TEST}test_an_unsigned_webhook_is_refused_and_not_kept",
            f"{CALLBACKS_TEST}test_a_webhook_of_another_partners_app_is_refused",
        ),
    ),
    Guard(
        "signed request: signature",
        "A deauthorisation, or a deletion, is taken from Meta, for this partner's app, alone.",
        "onboarding/signatures.py",
        "if not hmac.compare_digest(expected, _decoded(signature)):",
        "if False:",
        (
            f"{SIGNATURES_TEST}test_one_changed_letter_is_a_forgery",
            f"{CALLBACKS_TEST}test_a_forged_signed_request_is_refused",
        ),
    ),
    Guard(
        "Graph's bad hour",
        "Tokens that are refused in crowds are not believed to be dead: no pixel is paused for them.",
        "onboarding/guardian.py",
        "evidence.refused >= SUSPECT_REFUSED",
        "evidence.refused < 0",
        (
            f"{GUARDIAN_TEST}test_graph_is_suspect_when_many_of_different_advertisers_are_refused_at_once",
            f"{GUARDIAN_LOOKS_TEST}test_the_guardian_does_not_believe_a_bad_hour_and_clears_it_up_afterwards",
        ),
    ),
)

GUARDS: Final = (*DELIVERY, *SCOPING, *ROW_SECURITY, *CONNECTING)
