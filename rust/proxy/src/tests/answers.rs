use serde_json::{Value, json};
use ztna_model::{ApprovalId, Decision, DenyReason, FactKind, Fix};

use super::{AUTH, Seen, converse_in_pieces, socks};
use crate::Verdict;

fn connect(verdict: &Verdict) -> Seen {
    let request = format!("CONNECT wiki.demo:443 HTTP/1.1\r\n{AUTH}\r\n");
    converse_in_pieces(request.as_bytes(), &[], verdict)
}

fn get(verdict: &Verdict) -> Seen {
    let request = format!("GET http://wiki.demo/ HTTP/1.1\r\nHost: wiki.demo\r\n{AUTH}\r\n");
    converse_in_pieces(request.as_bytes(), &[], verdict)
}

fn over_socks(verdict: &Verdict) -> u8 {
    let seen = converse_in_pieces(&socks("wiki.demo", 443), &[], verdict);
    assert_eq!(seen.is_closed, *verdict != Verdict::Connected);
    assert_eq!(seen.replies[..4], [5, 2, 1, 0]);
    seen.replies[5]
}

fn problem(seen: &Seen) -> Value {
    let text = seen.text();
    let (head, content) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: application/problem+json"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())));
    assert!(head.contains("\r\nConnection: close\r\n"));
    assert!(!head.to_ascii_lowercase().contains("access-control"));
    serde_json::from_str(content).unwrap()
}

fn check(verdict: &Verdict, status: u16, code: u8, reason: &str) {
    for seen in [connect(verdict), get(verdict)] {
        assert!(seen.is_closed && seen.passed.is_empty(), "{verdict:?}");
        assert!(seen.first_line().starts_with(&format!("HTTP/1.1 {status} ")), "{verdict:?}");
        let problem = problem(&seen);
        assert_eq!((&problem["status"], &problem["reason"]), (&json!(status), &json!(reason)), "{verdict:?}");
        assert_eq!(problem["type"], format!("urn:openztna:problem:{reason}"));
    }
    assert_eq!(over_socks(verdict), code, "{verdict:?}");
}

#[test]
fn p4_3_every_reason_has_its_answer_in_both_protocols() {
    let expected = |reason: DenyReason| match reason {
        DenyReason::NotFound | DenyReason::NoRule => (502, 4),
        DenyReason::GatewayAway | DenyReason::BrokerAway | DenyReason::Restarted => (503, 3),
        DenyReason::TooManyFlows | DenyReason::LimitReached | DenyReason::Fault => (503, 1),
        DenyReason::TargetAway => (504, 6),
        DenyReason::SignedOut
        | DenyReason::SessionEnded
        | DenyReason::DeviceNotAdmitted
        | DenyReason::EvidenceTooOld
        | DenyReason::Held
        | DenyReason::DeviceUnfit
        | DenyReason::DeviceUnproven
        | DenyReason::NotEntitled
        | DenyReason::Forbidden
        | DenyReason::PolicyError
        | DenyReason::LeaseExpired
        | DenyReason::Silent
        | DenyReason::Revoked
        | DenyReason::SpoofedSource
        | DenyReason::UnreadablePacket
        | DenyReason::OutOfReach => (403, 2),
    };
    for reason in DenyReason::ALL {
        let (status, code) = expected(*reason);
        let told = if *reason == DenyReason::NoRule { "not-found" } else { reason.code() };
        check(&Verdict::denied(*reason), status, code, told);
    }
    check(&Verdict::StepUp, 403, 2, "step-up");
    check(&Verdict::Pending, 403, 2, "pending");
    check(&Verdict::Refused, 502, 5, "target-refused");
}

#[test]
fn a_yes_opens_a_stream() {
    let seen = connect(&Verdict::Connected);
    assert_eq!(seen.text(), "HTTP/1.1 200 Connection established\r\n\r\n");
    assert!(seen.upstream.is_some() && !seen.is_closed);
    assert_eq!(over_socks(&Verdict::Connected), 0);
    let seen = get(&Verdict::Connected);
    assert_eq!(seen.text(), "");
    assert!(seen.upstream.is_some() && !seen.is_closed);
}

#[test]
fn a_refusal_says_why_and_what_would_help() {
    let fixes = vec![Fix::Device { fact: FactKind::DiskEncrypted }, Fix::AskAdministrator];
    let seen = connect(&Verdict::Denied { reason: DenyReason::DeviceUnfit, fixes });
    assert_eq!(
        problem(&seen),
        json!({
            "type": "urn:openztna:problem:device-unfit",
            "title": "Access denied",
            "status": 403,
            "detail": "this device does not meet what is asked",
            "reason": "device-unfit",
            "fixes": [{"fix": "device", "fact": "disk_encrypted"}, {"fix": "ask_administrator"}],
        })
    );
    let expected = "\r\nProxy-Status: openztna; error=http_request_denied; \
                    details=\"this device does not meet what is asked\"\r\n";
    assert!(seen.text().contains(expected));
}

#[test]
fn p4_3_what_is_hidden_gets_the_bytes_of_what_does_not_exist() {
    let hidden = [
        Verdict::NOT_FOUND,
        Verdict::denied(DenyReason::NoRule),
        Verdict::Denied { reason: DenyReason::NotFound, fixes: vec![Fix::AskAdministrator] },
        Verdict::Denied { reason: DenyReason::NoRule, fixes: vec![Fix::Retry] },
    ];
    for verdict in &hidden {
        assert_eq!(connect(verdict).replies, connect(&Verdict::NOT_FOUND).replies);
        assert_eq!(get(verdict).replies, get(&Verdict::NOT_FOUND).replies);
        assert_eq!(over_socks(verdict), 4);
    }
    // A name that nothing can have is not asked about, and answered the same.
    let impossible = format!("CONNECT wiki..demo:443 HTTP/1.1\r\n{AUTH}\r\n");
    let seen = converse_in_pieces(impossible.as_bytes(), &[], &Verdict::Connected);
    assert_eq!((seen.asked, seen.replies), (None, connect(&Verdict::NOT_FOUND).replies));
}

#[test]
fn an_answer_to_head_has_no_content() {
    let request = format!("HEAD http://wiki.demo/ HTTP/1.1\r\n{AUTH}\r\n");
    let seen = converse_in_pieces(request.as_bytes(), &[], &Verdict::denied(DenyReason::Held));
    assert!(seen.text().starts_with("HTTP/1.1 403 ") && seen.text().ends_with("\r\n\r\n"));
    let seen = converse_in_pieces(b"HEAD http://wiki.demo/ HTTP/1.1\r\n\r\n", &[], &Verdict::Connected);
    assert!(seen.text().starts_with("HTTP/1.1 407 ") && seen.text().ends_with("\r\n\r\n"));
}

#[test]
fn decisions_become_verdicts() {
    let approval = ApprovalId([7; 16]);
    let denied = Decision::denied(DenyReason::Held);
    assert_eq!(Verdict::refusal(Decision::Granted), None);
    assert_eq!(Verdict::refusal(denied), Some(Verdict::denied(DenyReason::Held)));
    assert_eq!(Verdict::refusal(Decision::StepUp { acr: None, max_age: None }), Some(Verdict::StepUp));
    assert_eq!(Verdict::refusal(Decision::Pending { approval }), Some(Verdict::Pending));
}

#[test]
fn an_answer_that_nobody_asked_for_does_nothing() {
    let mut conversation = crate::Conversation::new(&super::SECRET.to_owned().into());
    conversation.answer(Verdict::Connected);
    assert_eq!(conversation.poll(), None);
    assert!(conversation.is_waiting_for_head());
}
