//! Every rule of the protocol between device, broker and gateway, and the tests that hold it. A test of rule 5.3 bears
//! `p5_3` in front of its name, in whichever crate it stands.
//!
//! `cargo test -p ztna-tests --test rules -- --nocapture` prints the list.

mod proof;

use proof::{Row, Tests, check, partly, proven};

/// Every rule, by its number.
const RULES: &[Row] = &[
    // Organisation, keys, bootstrap
    proven(
        "1.1",
        "an organisation's id comes first everywhere: nothing is reached without it",
        &[
            "p1_1_b04_nothing_of_one_organisation_opens_anything_in_another",
            "p1_1_b04_another_organisation_s_ids_open_nothing",
        ],
    ),
    partly(
        "1.2",
        "root, authority, lease, provider and audit have keys of their own, and what is secret is sealed in the store",
        &[
            "p1_2_f01_only_the_pinned_root_s_newest_set_counts",
            "p1_2_keys_that_the_root_did_not_sign_leave_those_in_place_that_it_did",
            "p1_2_a_key_that_has_left_the_set_signs_no_more",
        ],
        &["rotation of keys by command"],
    ),
    proven(
        "1.3",
        "one string names an organisation and pins its root; whoever answers as another is refused",
        &[
            "p1_3_organisation_strings",
            "p1_3_f01_an_organisation_that_is_not_the_one_asked_for_is_refused",
            "p1_3_f01_a_server_without_the_pinned_root_is_refused",
            "p1_3_f01_a_broker_without_the_root_of_the_token_gets_no_secret",
        ],
    ),
    partly(
        "1.4",
        "no default password: the first owner is made by a token of single use",
        &["p1_4_the_first_owner_is_made_by_a_single_use_token"],
        &["one-time passwords"],
    ),
    partly(
        "1.5",
        "administrators come by a local socket that knows who calls; the last owner stays",
        &["p1_5_the_last_owner_stays", "p1_5_g02_the_kernel_says_who_calls"],
        &["administration over the network, with roles"],
    ),
    proven(
        "1.6",
        "the store has an incarnation: another life of it ends every session and lease",
        &["p1_6_a_restored_store_ends_every_session", "p1_6_another_life_of_the_store_ends_everything"],
    ),
    // Who and what may come in
    proven(
        "2.1",
        "a person is issuer and subject; an address links once, if verified by whom it may be; others stay outside",
        &[
            "b03_p2_1_an_address_links_to_an_invitation_once_if_verified_by_whom_it_may_be",
            "p2_1_templated_issuers_are_refused",
            "p2_1_groups_are_the_issuer_s_own",
        ],
    ),
    partly(
        "2.2",
        "a new device key waits until it is admitted",
        &[
            "p2_2_a_second_device_waits_and_an_administrator_admits_it",
            "p2_2_a_pending_session_can_only_wait_and_sign_out",
            "p2_2_the_first_device_rule_is_a_setting",
            "b01_b02_p2_2_an_enrolment_token_admits_one_device_once",
        ],
        &["attestation"],
    ),
    proven(
        "2.3",
        "a person ends a device from another one",
        &["p2_2_p2_3_a_person_admits_and_ends_devices_from_another_one"],
    ),
    proven(
        "2.4",
        "a device key signs typed statements only, over a broker's nonce, once",
        &[
            "p2_4_a_statement_is_good_once_on_its_own_stream_and_for_five_minutes",
            "p2_4_c02_a_statement_is_good_for_its_own_key_org_and_session_alone",
        ],
    ),
    // Session
    proven(
        "3.1",
        "a session opens by an ID token and a proof, checked in one order",
        &[
            "p3_1_an_exchange_opens_a_session",
            "p3_1_a01_a07_each_check_of_an_exchange_refuses",
            "p3_1_checks_come_in_their_order",
        ],
    ),
    partly(
        "3.2",
        "a fresh ID token inside a session is evidence that the person is still there",
        &["p3_2_a_device_is_told_by_when_its_person_has_to_sign_in"],
        &["evidence"],
    ),
    partly(
        "3.3",
        "signing in again with more proof keeps the session",
        &["p3_3_signing_in_again_on_the_same_device_keeps_the_session"],
        &["step-up in the client"],
    ),
    partly(
        "3.4",
        "access tokens live for five minutes, refresh tokens rotate, and a session that is idle or old is over",
        &[
            "p3_4_an_access_token_lives_five_minutes",
            "p3_4_refresh_repeated_by_the_same_key_gets_the_same_answer",
            "p3_4_twelve_idle_hours_or_seven_days_end_a_session",
            "p3_4_tokens_are_kept_by_their_hashes_alone",
        ],
        &["evidence, which wakes a session without a sign-in"],
    ),
    proven(
        "3.5",
        "one stream a session: two claimants are found out, and rights are gained only with a presence",
        &[
            "p3_5_the_next_stream_is_handed_over_when_the_current_one_says_so",
            "p3_5_a_stream_that_is_silent_for_five_seconds_is_replaced",
            "p3_5_which_hello_follows_which",
            "p3_5_nothing_is_gained_without_a_presence_of_five_minutes",
            "c05_p3_5_a_thief_is_seen_while_the_device_is_awake",
        ],
    ),
    proven(
        "3.6",
        "holds make a revocation last, and a revocation never waits",
        &[
            "p3_6_p5_6_a_hold_floors_first_and_is_answered_last",
            "p3_6_holds_of_every_kind_deny_and_lifting_them_gives_back",
            "p3_6_a_revocation_never_waits_for_a_store_that_is_down",
        ],
    ),
    partly(
        "3.7",
        "signing out works without a network, and the provider may end sessions",
        &["p3_7_signing_out_works_offline", "p3_7_a_back_channel_logout_ends_one_sign_in_or_all_of_a_person"],
        &["signing out at the provider"],
    ),
    proven(
        "3.8",
        "each kind of token has a type and keys of its own, and what counts once counts once on all brokers",
        &[
            "p3_8_a01_forms_that_must_be_refused",
            "p3_8_a_nonce_opens_on_any_broker_for_its_purpose_and_for_its_life_alone",
        ],
    ),
    // Decision
    proven(
        "4.1",
        "policies are strict: no forbid lets through what is unknown, errors deny, and a slice says what the whole says",
        &[
            "p4_1_policies_that_are_refused_when_written",
            "p4_1_a_slice_says_what_the_whole_set_says",
            "p4_1_nothing_but_pass_ever_helps",
            "p4_1_facts_age_from_the_nonce_of_their_statement",
        ],
    ),
    proven(
        "4.2",
        "an answer says why, what would help, and when it turns",
        &["p4_1_p4_2_answers_and_what_would_help", "p4_2_the_deciding_policies_are_named"],
    ),
    proven(
        "4.3",
        "what is hidden is the same as what does not exist, everywhere",
        &[
            "p4_3_hidden_and_absent_are_the_same_bytes_and_the_same_row",
            "p4_3_hidden_and_absent_are_the_same_bytes",
            "p4_3_what_is_hidden_gets_the_bytes_of_what_does_not_exist",
            "p4_3_seeing_depends_on_person_and_group_alone",
            "p4_3_what_is_hidden_and_what_does_not_exist_are_the_same_bytes",
            "p4_3_what_is_visible_but_denied_has_an_address_and_a_flow_there_is_told_why",
        ],
    ),
    proven(
        "4.4",
        "facts that are made up, or below the organisation's tier, count as unknown",
        &[
            "p4_4_d01_what_a_scripted_client_says_of_itself_is_tier_zero",
            "p4_4_d01_spoofed_facts_reach_tier_0_only",
        ],
    ),
    proven(
        "4.5",
        "whatever changes, everything alive is decided again, and what stays is undisturbed",
        &[
            "p4_5_every_trigger_decides_anew",
            "p4_5_what_stays_is_undisturbed_by_a_floor",
            "p4_5_p5_6_no_gateway_that_listens_holds_what_would_not_be_granted",
        ],
    ),
    // Lease
    proven(
        "5.1",
        "a lease is signed on a fresh beat of its gateway's clock, and nothing lengthens it",
        &[
            "p5_1_nothing_is_signed_on_an_old_beat",
            "p5_1_beats_come_every_20_s_or_six_in_the_shortest_lease_s_life",
            "p5_1_nothing_but_a_later_signature_lengthens_a_lease",
        ],
    ),
    proven(
        "5.2",
        "the broker signs after a full decision, and for no longer than its answer holds",
        &[
            "p5_2_a_lease_lives_no_longer_than_its_answer",
            "p5_2_between_decision_and_signature_a_hold_wins",
            "p5_2_a_tunnel_key_lives_in_one_session",
        ],
    ),
    proven(
        "5.3",
        "the gateway checks everything, and refuses by a name that is counted",
        &[
            "p5_3_every_refusal_has_a_row",
            "p5_3_e02_e03_the_target_is_in_reach_and_not_forbidden",
            "p5_3_the_same_id_again_replaces_what_may_change_and_nothing_else",
        ],
    ),
    proven(
        "5.4",
        "a lease is asked for at the first flow, and renewed at half its life for a device that speaks",
        &[
            "p5_4_p5_9_a_first_dial_asks_for_a_lease_and_the_next_does_not",
            "p5_4_renewals_are_asked_for_at_half_life_all_together",
            "p5_4_a_device_that_sends_nothing_is_not_renewed_for",
            "p5_4_a_renewal_is_a_full_decision_and_writes_nothing",
        ],
    ),
    partly(
        "5.5",
        "an end cuts its flows both ways at once and says why inside the tunnel",
        &[
            "p5_5_every_end_cuts_the_flows_and_tells_device_and_broker_once",
            "p5_5_a_gateway_s_notice_is_believed_about_its_own_leases_alone",
            "p5_5_a_cut_is_told_inside_the_tunnel",
        ],
        &["parking"],
    ),
    proven(
        "5.6",
        "a floor goes to all gateways, first and at once; what is not listed goes; a restart voids everything",
        &[
            "p5_6_a_floor_goes_to_all_gateways_each_with_its_own",
            "p5_6_on_reconnect_come_welcome_floors_and_list_in_this_order",
            "p5_6_what_is_not_listed_goes",
            "p5_6_a_restart_is_a_new_run_and_every_earlier_lease_is_void",
        ],
    ),
    proven(
        "5.7",
        "deadlines are compared in every batch, and a machine that was paused asks anew",
        &[
            "p5_7_e08_the_deadline_is_compared_in_every_batch_and_not_by_a_timer",
            "p5_7_what_a_paused_machine_was_given_is_asked_for_anew",
        ],
    ),
    proven(
        "5.8",
        "no lease, no peer: an unknown key gets silence, and handshakes cost bounded work",
        &[
            "p5_8_h01_a_handshake_by_an_unknown_key_gets_no_byte",
            "p5_8_a_stranger_gets_no_byte_back",
            "p5_8_h01_a_flood_of_handshakes_gets_cookies_and_bounded_work",
        ],
    ),
    proven(
        "5.9",
        "the client hears of a lease when its gateway has it, has a new key every day, and alone begins handshakes",
        &[
            "p5_9_a_grant_comes_after_the_gateway_has_the_lease_and_names_it",
            "p5_9_a_new_key_at_each_start_and_every_day",
            "p5_9_only_the_client_initiates",
            "p5_9_one_empty_datagram_opens_a_path",
            "p5_9_only_64_packets_wait_for_a_session",
        ],
    ),
    proven(
        "5.10",
        "of several gateways the broker picks, and replaces one that is gone",
        &[
            "p5_10_the_gateway_is_sticky_by_session_and_may_be_avoided",
            "p5_10_a_gateway_that_does_not_answer_is_replaced_in_three_seconds",
            "p5_10_a_gateway_that_is_silently_cut_off_is_replaced_in_twenty_seconds",
        ],
    ),
    proven(
        "5.11",
        "revocation is pushed; a gateway that is cut off closes within the lease, and the administrator sees when",
        &[
            "p5_11_a_revocation_is_quick",
            "p5_11_e08_a_gateway_that_is_cut_off_closes_within_the_lease",
            "p5_11_p5_6_e08_a_gateway_that_was_away_gets_the_floors_first_and_then_the_list",
        ],
    ),
    proven(
        "5.12",
        "gateways come by their certificates, and may renew one that ran out",
        &[
            "p5_12_clients_that_are_no_gateway_of_ours_are_refused",
            "p5_12_a_certificate_that_ran_out_is_renewed_with_its_own_key",
        ],
    ),
    // Names and addresses
    partly(
        "6.1",
        "a resource is a name, a wildcard, an address or a prefix, with protocol and ports",
        &["p6_1_a_prefix_is_leased_as_it_is", "p6_1_echo_and_datagrams_go_where_they_are_granted"],
        &["the TUN device"],
    ),
    proven(
        "6.2",
        "the lease is the mapping: addresses for names are the device's own choice, stable and meaningless to others",
        &[
            "p6_2_every_name_has_one_address_of_its_own",
            "p6_2_a_wildcard_takes_one_lease_for_each_name_label_by_label",
            "p6_2_a_session_has_at_most_256_names",
            "p6_2_at_most_256_names_below_a_wildcard",
            "p6_2_a_flow_to_a_stand_in_is_one_to_the_name_and_keeps_its_address",
        ],
    ),
    partly(
        "6.3",
        "addresses for names lie in ranges of their own",
        &["p6_3_synthetic_pairs_carry_one_number"],
        &["the TUN device"],
    ),
    proven(
        "6.4",
        "an address means something within one peer only; all other destinations get one and the same answer",
        &[
            "p6_4_a_packet_finds_its_lease_by_peer_destination_protocol_and_port",
            "p6_4_unbound_expired_and_foreign_destinations_get_one_and_the_same_answer",
            "p6_4_e02_the_address_that_was_checked_is_the_one_that_is_reached",
        ],
    ),
    partly(
        "6.5",
        "prefixes that overlap between sites are refused, unless each is reached by name; addresses are routed exactly",
        &[
            "p6_5_prefixes_that_overlap_between_sites_are_refused",
            "p6_5_two_sites_may_have_the_same_plan_where_both_are_reached_by_name",
            "p6_5_two_sites_with_the_same_plan_are_told_apart_by_name",
            "p6_5_every_address_at_a_site_has_a_name",
            "p6_5_an_address_is_leased_by_the_name_that_it_has_at_its_site",
            "p6_5_an_address_at_a_site_has_a_name_and_goes_by_it",
            "p6_5_stand_ins_the_resolver_and_granted_addresses_are_routed_and_nothing_else",
        ],
        &["the TUN device"],
    ),
    proven(
        "6.6",
        "exact names are answered here, others once the site has said that they are there; what a site says is sifted",
        &[
            "p6_6_exact_names_are_answered_here_and_nobody_is_asked",
            "p6_6_under_a_wildcard_there_is_no_address_before_the_site_has_the_name",
            "p6_6_a_name_that_the_site_does_not_have_leaves_nothing_behind",
            "p6_6_records_come_from_the_site_under_a_lease_alone",
            "p6_6_a_question_reaches_the_gateway_without_a_rule_and_its_answer_the_device",
            "p6_6_a_device_learns_that_a_name_is_there_and_never_where",
            "p6_6_records_of_a_service_come_from_the_site_without_its_addresses",
            "p6_6_targets_neither_granted_nor_visible_are_dropped",
            "p6_6_hints_that_lead_past_the_tunnel_are_removed",
            "p6_6_what_a_site_said_is_forgotten_with_the_lease",
            "p6_6_what_is_not_ours_goes_to_the_system_s_resolvers",
            "p6_6_nobody_waits_for_longer_than_two_seconds",
            "p6_6_the_room_to_wait_is_bounded",
            "p6_6_every_question_is_answered_once_and_soon",
        ],
    ),
    partly(
        "6.7",
        "paths are opened to public addresses and those in reach alone, and by few datagrams",
        &[
            "p6_7_a_path_is_opened_to_public_addresses_and_those_in_reach_alone",
            "p6_7_five_datagrams_at_most",
        ],
        &["hole punching"],
    ),
    // Messages, audit
    proven(
        "7",
        "messages have recorded examples, versions, caps, and fields that may not be ignored",
        &[
            "p7_f03_every_frame_has_examples_and_hostile_ones_cause_the_error_they_are_named_by",
            "p7_an_unknown_field_is_ignored_unless_must_names_it",
            "p7_f01_versions_below_the_minimum_are_refused",
            "p7_requests_are_limited",
        ],
    ),
    partly(
        "8",
        "every decision is a row of a chain before it takes effect, and no row can be changed unseen",
        &[
            "p5_6_p8_a_lease_is_written_down_with_its_decision_before_it_is_signed",
            "h05_p8_an_edit_or_a_gap_is_found_and_the_row_is_named",
            "p8_new_grants_stop_when_the_store_is_down_and_renewals_go_on",
            "p8_erasing_personal_text_leaves_the_chain_whole",
        ],
        &["witnesses"],
    ),
];

#[test]
fn every_rule_has_its_tests_or_says_what_it_waits_for() {
    check(RULES, &Tests::with(|id| id.starts_with(char::is_numeric)));
}
