//! Every attack that the product must withstand, and the tests that show it does. A test that plays an attack bears its
//! id in front of its name, in whichever crate it stands.
//!
//! `cargo test -p ztna-tests --test attacks -- --nocapture` prints the list.

mod proof;

use proof::{Row, Tests, check, partly, proven};

/// Every attack, by its id. Ids are stable, and gaps between them mean nothing.
const ATTACKS: &[Row] = &[
    // Signing in
    proven(
        "a01",
        "an ID token without a signature, by `none`, by HS256 with the public key, by a key it brings along, for another client, from another issuer, with another nonce, or expired",
        &[
            "p3_8_a01_forms_that_must_be_refused",
            "a01_id_tokens_that_are_refused",
            "a01_tokens_that_are_not_believed",
            "p3_1_a01_a07_each_check_of_an_exchange_refuses",
        ],
    ),
    proven(
        "a02",
        "a code of one issuer is taken to another",
        &[
            "a02_a_provider_that_is_another_s_is_refused",
            "a02_a04_answers",
            "a02_the_provider_says_who_it_is_in_metadata_and_every_answer",
        ],
    ),
    proven(
        "a03",
        "another app catches the redirect: the code is of no use without the verifier",
        &[
            "a03_parallel_sign_ins_share_nothing",
            "a03_no_code_without_proof_of_who_began",
            "a03_a_code_is_redeemed_by_who_began_where_it_was_sent_in_time",
        ],
    ),
    proven(
        "a04",
        "a state is replayed, or answers are swapped between sign-ins that run side by side",
        &[
            "a04_an_answer_to_another_sign_in_changes_nothing",
            "a04_parallel_sign_ins_in_one_browser_do_not_disturb_each_other",
        ],
    ),
    waits("a05", "a device code is used to phish: its text and its rate", &["sign-in by device code"]),
    proven(
        "a06",
        "a refresh token is used by another key, or after its successor: the family ends",
        &[
            "a06_a_spent_token_in_other_hands_ends_the_session_and_a_live_one_is_no_use_to_them",
            "a06_a_stolen_refresh_token_is_of_no_use_to_another_key",
            "a06_a_refresh_token_used_again_ends_the_family",
        ],
    ),
    proven(
        "a07",
        "a DPoP proof for another address, token or key, a second time, or too old",
        &[
            "p3_1_a07_a_proof_is_good_for_its_own_request_alone",
            "a07_the_proof_names_the_key_that_made_it",
            "a07_a_stolen_access_token_opens_nothing_without_its_key",
            "a07_a_proof_is_good_once",
        ],
    ),
    // Enrolling
    proven(
        "b01",
        "an enrolment token is used a hundred times at once: one gets it",
        &[
            "b01_a_hundred_parallel_uses_of_a_token_let_one_device_in",
            "b01_a_hundred_claim_and_one_gets_it",
            "b01_b02_a_gateway_enrols_once_by_its_token_and_renews_by_its_key",
        ],
    ),
    proven(
        "b02",
        "a leaked enrolment token after its use, after its end, or for something else",
        &[
            "b01_b02_a_gateway_enrols_once_by_its_token_and_renews_by_its_key",
            "b01_b02_p2_2_an_enrolment_token_admits_one_device_once",
        ],
    ),
    proven(
        "b03",
        "somebody else's address in an ID token: unverified, or by an issuer that may not speak for its domain",
        &["b03_p2_1_an_address_links_to_an_invitation_once_if_verified_by_whom_it_may_be"],
    ),
    proven(
        "b04",
        "ids of another organisation, at every way in",
        &[
            "p1_1_b04_nothing_of_one_organisation_opens_anything_in_another",
            "b04_organisations_do_not_see_each_other",
            "p1_1_b04_another_organisation_s_ids_open_nothing",
            "p1_1_b04_a_policy_means_its_own_organisation_alone",
        ],
    ),
    // What is sealed or signed
    proven(
        "c01",
        "a cookie or document that was made anew, or moved, without its key",
        &[
            "c01_a_sealed_document_opens_in_its_own_place_alone",
            "c01_nothing_of_an_account_can_be_read_or_moved_in_the_file",
        ],
    ),
    proven(
        "c02",
        "a lease for another key or gateway, of a lower epoch, or with a longer life written into it",
        &[
            "c02_a_lease_that_was_changed_or_meant_for_somebody_else",
            "c02_not_one_character_of_a_lease_can_be_another",
            "c02_a_lease_opens_the_door_to_its_own_key_alone",
        ],
    ),
    proven(
        "c03",
        "a secret is guessed by how long a refusal takes",
        &[
            "c03_only_the_whole_secret_opens",
            "c03_an_unknown_name_takes_as_long_as_a_wrong_password",
            "c03_a_mark_is_good_for_its_org_key_kind_and_parts",
        ],
    ),
    proven(
        "c04",
        "a session that has ended goes on where it had reached",
        &["c04_a_session_that_ends_takes_its_leases_along"],
    ),
    partly(
        "c05",
        "everything on a device's disk is copied: tokens, keys, and its place in the chain of streams",
        &[
            "c05_p3_5_a_thief_is_seen_while_the_device_is_awake",
            "c05_p3_5_a_thief_is_seen_when_a_sleeping_device_wakes",
        ],
        &["keys in the hardware of phones"],
    ),
    // Posture
    proven(
        "d01",
        "a scripted client makes up its facts: they reach tier 0 and no further",
        &[
            "p4_4_d01_spoofed_facts_reach_tier_0_only",
            "p4_4_d01_what_a_scripted_client_says_of_itself_is_tier_zero",
        ],
    ),
    waits(
        "d02",
        "an attestation is replayed, made by another app or in software, or its chain is longer, revoked or faked",
        &["attestation on Android"],
    ),
    waits("d03", "an App Attest counter that goes back, or a development key", &["attestation on iOS"]),
    // Enforcement
    proven(
        "e01",
        "a packet bears a source that is not its peer's, or goes by another peer's lease",
        &[
            "e01_a_source_that_is_not_the_device_s_is_dropped",
            "e01_another_peer_s_lease_is_of_no_use",
            "e01_no_gateway_answers_in_anothers_name",
            "e01_what_the_kernel_sees_is_one_flow_of_one_device_s",
            "e01_e02_spoofed_sources_foreign_destinations_and_callers_from_the_site_are_refused",
            "e01_e02_the_packet_filter_alone_stops_what_the_process_would_never_send",
        ],
    ),
    proven(
        "e02",
        "an allowed name resolves to a forbidden address, or to another one between check and connection",
        &[
            "e02_e03_a_name_that_stands_for_a_forbidden_address_is_not_reached",
            "p6_4_e02_the_address_that_was_checked_is_the_one_that_is_reached",
            "e02_a_site_s_addresses_are_never_told",
            "e02_e03_a_name_is_looked_up_when_a_flow_begins_and_every_address_checked",
            "e02_e03_an_echo_of_this_machine_or_out_of_reach_is_refused_and_counted",
        ],
    ),
    proven(
        "e03",
        "a forbidden address in another spelling: mapped, translated, decimal, octal, all zeros",
        &[
            "e03_forms_that_carry_a_forbidden_address_are_forbidden",
            "e03_other_spellings_of_an_address_are_neither_name_nor_address",
            "e03_what_other_resolvers_would_read_as_an_address_is_no_name",
            "e03_an_address_has_one_spelling",
        ],
    ),
    proven(
        "e04",
        "fragments, tiny first fragments, extension headers, and errors about packets that were never sent",
        &[
            "e04_fragments_are_refused",
            "e04_headers_that_hide_ports_or_ends_are_refused",
            "e04_icmp_errors_with_a_forged_inner_packet_are_refused",
            "e04_an_error_about_a_packet_that_was_never_sent_is_dropped",
        ],
    ),
    proven(
        "e07",
        "connections that have been open for long go on after a revocation",
        &[
            "e07_every_live_flow_is_cut_at_revoke",
            "e07_a_floor_cuts_every_flow_below_it_both_ways_and_spares_what_it_keeps",
            "e07_after_the_floor_no_byte_reaches_the_application_or_the_device",
            "e07_a_lease_that_is_over_cuts_its_flows_both_ways",
        ],
    ),
    proven(
        "e08",
        "a gateway is kept from hearing of a revocation: it closes when the lease is over",
        &[
            "p5_11_e08_a_gateway_that_is_cut_off_closes_within_the_lease",
            "e08_a_gateway_cut_off_closes_when_the_lease_is_over",
            "e08_nothing_passes_from_the_deadline_on",
        ],
    ),
    proven(
        "e09",
        "a client that was modified ignores its own table: the gateway denies",
        &[
            "e09_a_device_that_ignores_its_own_table_is_denied_here",
            "e09_what_no_lease_covers_is_reset_whatever_the_device_thinks",
            "e09_whatever_a_device_holds_no_lease_for_gets_one_and_the_same_refusal",
            "e09_a_right_to_ask_ends_with_the_lease",
        ],
    ),
    proven(
        "e10",
        "a datagram is recorded and sent again, or a counter runs out",
        &["e10_nothing_that_passed_once_passes_again", "e10_a_counter_that_must_not_be_used_is_refused"],
    ),
    proven(
        "e11",
        "a second request is smuggled to an application behind the end of a first one's body",
        &[
            "e11_smuggling_a_body_whose_end_two_servers_could_see_differently_is_refused",
            "e11_smuggling_a_second_request_never_reaches_the_first_ones_server",
        ],
    ),
    proven(
        "e12",
        "a lease or a floor that was sound once comes again after a revocation",
        &["e12_p5_6_an_older_lease_that_comes_again_is_refused", "e12_p5_6_a_floor_never_sinks"],
    ),
    // Servers that lie
    partly(
        "f01",
        "a broker under another root, an older protocol, or settings that take over the device",
        &[
            "p1_3_f01_a_server_without_the_pinned_root_is_refused",
            "p1_3_f01_an_organisation_that_is_not_the_one_asked_for_is_refused",
            "p7_f01_versions_below_the_minimum_are_refused",
            "f01_neither_side_goes_back_to_tls_1_2",
            "f01_no_broker_takes_all_traffic_or_all_names",
            "f01_nobody_has_a_public_top_to_himself",
        ],
        &["post-quantum tunnel keys"],
    ),
    waits("f02", "a relay reads what it carries, or sends it elsewhere", &["relays"]),
    proven(
        "f03",
        "messages that are too long, too deep or too many",
        &[
            "p7_f03_what_is_read_and_what_is_refused",
            "f03_hostile_http_messages_cause_the_error_they_are_named_by",
            "f03_frames_that_end_a_stream",
            "f03_any_bytes_get_an_answer_that_can_be_read_or_none",
        ],
    ),
    // On the device
    partly(
        "g02",
        "another program on the device, or a page in its browser, speaks to the connector",
        &[
            "g02_a_page_that_finds_the_port_gets_nothing",
            "g02_cve_2022_41924_a_page_that_rebinds_its_name_to_the_port_gets_nothing",
            "g02_a_browser_that_uses_the_proxy_is_served_and_one_without_the_password_is_not",
        ],
        &["the Android and iOS apps"],
    ),
    partly(
        "g03",
        "secrets turn up in logs, files that others may read, or crash reports",
        &[
            "g03_no_secret_is_printed",
            "g03_what_is_logged_of_a_conversation_holds_nothing_of_it",
            "g03_no_file_of_it_can_be_read_by_others",
            "g03_no_log_holds_a_secret_though_everything_is_logged",
        ],
        &["support bundles"],
    ),
    partly(
        "g04",
        "a second person on one device gains by the first one's admission",
        &["g04_a_device_key_belongs_to_one_person"],
        &["the Android and iOS apps"],
    ),
    proven(
        "g05",
        "a hostile network hands out routes and addresses that lead around the tunnel",
        &[
            "g05_routes_that_a_network_hands_out_do_not_lead_around_the_tunnel",
            "g05_networks_that_are_handed_out_are_not_ones_own",
            "g05_a_network_that_uses_our_ranges_takes_nothing",
            "g05_the_connector_s_own_carriers_do_not_go_through_its_tunnel",
            "g05_a_tunnel_whose_device_is_gone_leads_nowhere_and_never_outside",
        ],
    ),
    partly(
        "g06",
        "names or IPv6 packets leave outside the tunnel",
        &[
            "g06_names_with_a_search_domain_behind_them_are_found_out",
            "p6_6_g06_names_stay_ours_while_the_broker_is_away_and_over_restarts",
            "g06_applications_packets_and_questions_stay_inside_the_tunnel_in_every_network",
            "g06_what_hides_names_from_programs_is_told_with_its_remedy",
        ],
        &["the Android and iOS apps"],
    ),
    // The service
    proven(
        "h01",
        "floods of handshakes and sign-ins",
        &[
            "p5_8_h01_a_flood_of_handshakes_gets_cookies_and_bounded_work",
            "h01_a_client_gets_in_during_a_flood",
            "h01_a_flood_of_sign_ins_is_turned_away_beyond_its_places",
            "h01_who_guesses_waits_whether_the_name_exists_or_not",
        ],
    ),
    partly(
        "h04",
        "a foreign page acts for a person, markup in a device's name acts in a page, or a role exceeds its rights",
        &[
            "h04_a_form_from_elsewhere_signs_nobody_in",
            "h04_names_from_outside_cannot_steer_a_screen",
            "h04_no_text_opens_a_tag_or_leaves_its_quotes",
        ],
        &["administration over the network, with roles"],
    ),
    proven(
        "h05",
        "a row of the audit log is edited, or missing",
        &[
            "h05_p8_an_edit_or_a_gap_is_found_and_the_row_is_named",
            "h05_an_exported_log_shows_an_edit_a_gap_and_a_cut",
        ],
    ),
];

#[test]
fn every_attack_has_its_tests_or_says_what_it_waits_for() {
    check(ATTACKS, &Tests::with(|id| id.starts_with(char::is_alphabetic)));
}

/// What nothing can prove until there is more of the product.
const fn waits(id: &'static str, about: &'static str, waits: &'static [&'static str]) -> Row {
    partly(id, about, &[], waits)
}
