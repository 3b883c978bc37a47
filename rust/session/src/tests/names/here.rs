//! What is answered here, and what is handed on.

use hickory_proto::rr::RecordType;
use ztna_api::device::{Changed, Wanted};
use ztna_model::{DenyReason, secs};
use ztna_proxy::Verdict;

use super::Told::{Forwarded, Nothing, Records};
use super::{LATER, NO_SUCH_NAME, NONE_OF_THESE, closed, open, prefix, question, read, records};
use crate::tests::desk::{Desk, denied, granted};
use crate::tests::position;
use crate::{Output, QueryId, Transport};

#[test]
fn p6_6_exact_names_are_answered_here_and_nobody_is_asked() {
    let mut desk = Desk::connected(vec![granted("wiki"), open("crm", "crm.corp.example")]);
    for name in ["wiki.demo", "crm.corp.example", "CRM.corp.Example"] {
        let [v4, v6] = desk.address_of(&name.to_ascii_lowercase());
        assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![v4]));
        assert_eq!(desk.look_up(2, name, RecordType::AAAA), Records(vec![v6]));
        assert_eq!(desk.look_up(3, name, RecordType::MX), NONE_OF_THESE);
        assert_eq!(desk.look_up(4, name, RecordType::ANY), records(&["RFC8482 "]));
    }
    assert_eq!(desk.asked(), None);
    assert!(desk.site_question().is_none());
}

#[test]
fn p4_3_what_is_visible_but_denied_has_an_address_and_a_flow_there_is_told_why() {
    let mut desk = Desk::connected(vec![denied("payroll"), closed("apps", "*.apps.corp.example")]);
    for (id, name) in [(1, "payroll.demo"), (2, "a.apps.corp.example")] {
        let [v4, _] = desk.address_of(name);
        assert_eq!(desk.look_up(id, name, RecordType::A), Records(vec![v4.clone()]));
        desk.dial(id, &v4, 80);
        assert!(
            matches!(desk.dialled(id), Err(Verdict::Denied { reason: DenyReason::DeviceUnfit, .. })),
            "{name}"
        );
        assert_eq!(desk.look_up(id, name, RecordType::TXT), NONE_OF_THESE);
    }
    assert_eq!(desk.asked(), None);
}

#[test]
fn p4_3_what_is_hidden_and_what_does_not_exist_are_the_same_bytes() {
    let mut desk = Desk::connected(vec![open("crm", "crm.corp.example"), prefix("plc", "10.1.0.0/16")]);
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::MX,
    ];
    for kind in kinds {
        let mut tails = Vec::new();
        for name in ["ledger.corp.example", "qzx7zz.corp.example", "crm2zz.corp.example"] {
            desk.query(1, name, kind);
            let message = desk.take(|output| match output {
                Output::Answer { message, .. } => Some(message.clone()),
                _ => None,
            });
            let message = message.into_iter().next().expect("an answer at once");
            assert_eq!(read(&message), NO_SUCH_NAME, "{name}");
            let asked_for = 12..12 + name.len() + 2;
            tails.push((message[..asked_for.start].to_vec(), message[asked_for.end..].to_vec()));
        }
        assert!(tails.windows(2).all(|pair| pair[0] == pair[1]), "{kind}");
    }
    for name in ["a.crm.corp.example", "10-2-0-1.hq.corp.example", "10-1-0-1.berlin.corp.example"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NO_SUCH_NAME, "{name}");
    }
    // There is something below these.
    for name in ["corp.example", "hq.corp.example"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NONE_OF_THESE, "{name}");
    }
    assert_eq!(desk.asked(), None);
    assert_eq!(desk.session.book.entries().len(), 0, "nothing is remembered of them");
}

#[test]
fn p6_6_what_is_not_ours_goes_to_the_system_s_resolvers() {
    let mut desk = Desk::connected(vec![granted("wiki"), open("apps", "*.apps.demo")]);
    for name in ["example.net", "demo", "x.wiki.demo", "apps.demo", "a.b.apps.demo", "xcorp.example", "wiki"]
    {
        assert_eq!(desk.look_up(1, name, RecordType::A), Forwarded, "{name}");
    }
    assert_eq!(desk.look_up(1, "9.0.0.10.in-addr.arpa", RecordType::PTR), Forwarded);
    for name in ["use-application-dns.net", "wiki.demo.lan", "ledger.corp.example.home.arpa"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), NO_SUCH_NAME, "{name}");
    }
    assert_eq!(desk.look_up(1, "_dns.resolver.arpa", RecordType::SVCB), NONE_OF_THESE);
    desk.session.disconnect();
    for name in ["wiki.demo", "ledger.corp.example", "use-application-dns.net"] {
        assert_eq!(desk.look_up(1, name, RecordType::A), Forwarded, "{name}: it is off");
    }
}

#[test]
fn p6_6_an_address_that_stands_in_for_a_name_leads_back_to_it() {
    let mut desk = Desk::connected(vec![granted("wiki"), granted("blog")]);
    let reverse = |address: &str| {
        let mut parts: Vec<&str> = address.split('.').collect();
        parts.reverse();
        format!("{}.in-addr.arpa", parts.join("."))
    };
    let [wiki, _] = desk.address_of("wiki.demo");
    let [gone, _] = desk.address_of("gone.demo");
    assert_eq!(desk.look_up(1, &reverse(&wiki), RecordType::PTR), records(&["wiki.demo."]));
    assert_eq!(desk.look_up(2, &reverse(&gone), RecordType::PTR), NO_SUCH_NAME, "it may not be known of");
    assert_eq!(desk.look_up(3, &reverse("198.18.77.77"), RecordType::PTR), NO_SUCH_NAME);
    assert_eq!(desk.look_up(4, &reverse(&wiki), RecordType::TXT), NONE_OF_THESE);
}

#[test]
fn p6_5_an_address_at_a_site_has_a_name_and_goes_by_it() {
    let mut desk = Desk::connected(vec![prefix("plc", "10.1.0.0/16")]);
    let name = "10-1-2-3.hq.corp.example";
    let [v4, v6] = desk.address_of(name);
    assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![v4]));
    assert_eq!(desk.look_up(2, name, RecordType::AAAA), Records(vec![v6.clone()]));
    desk.dial(1, &v6, 80);
    let Wanted::Name { name: asked, .. } = desk.grant_next("plc", 1) else { panic!("no name") };
    assert_eq!(asked.as_str(), name);
    assert_eq!(desk.dialled(1).map(|to| to.address.to_string()), Ok(v6), "as the application dialled it");
    // Its number alone is another way.
    desk.dial(2, "10.1.2.3", 80);
    assert_eq!(desk.take_ask().map(|ask| ask.wanted), Some(Wanted::Address("10.1.2.3".parse().unwrap())));
}

#[test]
fn p6_5_two_sites_with_the_same_plan_are_told_apart_by_name() {
    let mut twins = [prefix("plc", "10.1.0.0/16"), prefix("robot", "10.1.0.0/16")];
    for (twin, site) in twins.iter_mut().zip(["hq", "lab"]) {
        (twin.by_name, twin.site) = (true, Some(site.parse().unwrap()));
    }
    let mut desk = Desk::connected(twins.to_vec());
    let names = ["10-1-2-3.hq.corp.example", "10-1-2-3.lab.corp.example"];
    let addresses = names.map(|name| desk.address_of(name)[0].clone());
    assert_ne!(addresses[0], addresses[1]);
    for (name, address) in names.into_iter().zip(addresses) {
        assert_eq!(desk.look_up(1, name, RecordType::A), Records(vec![address]));
    }
    desk.dial(1, "10.1.2.3", 80);
    assert_eq!(desk.dialled(1), Err(Verdict::NOT_FOUND), "a number alone means neither");
    assert_eq!(desk.look_up(2, "3.2.1.10.in-addr.arpa", RecordType::PTR), Forwarded);
    let routed = desk.session.snapshot().network.routes;
    assert!(!routed.contains(&"10.1.0.0/16".parse().unwrap()));
}

#[test]
fn p6_2_names_that_are_gone_make_room_for_others() {
    let mut desk = Desk::connected(vec![granted("wiki")]);
    let [wiki, _] = desk.address_of("wiki.demo");
    for n in 0..4_095 {
        desk.address_of(&format!("n{n}.gone.example"));
    }
    desk.frame(Changed {
        position: position(2),
        visible: vec![open("crm", "crm.corp.example")],
        gone: vec![],
        suffixes: None,
    });
    assert!(matches!(desk.look_up(1, "crm.corp.example", RecordType::A), Records(_)));
    assert_eq!(desk.look_up(2, "wiki.demo", RecordType::A), Records(vec![wiki]), "it keeps its address");
    assert_eq!(desk.session.book.entries().len(), 2);
}

#[test]
fn p6_6_questions_wait_until_the_session_is_ready() {
    let mut desk = Desk::connected(vec![open("crm", "crm.corp.example")]);
    let [v4, _] = desk.address_of("crm.corp.example");
    desk.session.handle_stream_closed(false, desk.now);
    assert_eq!(desk.look_up(1, "crm.corp.example", RecordType::A), Records(vec![v4.clone()]), "reconnecting");
    desk.wait();
    desk.open_and_welcome();
    assert_eq!(desk.look_up(2, "crm.corp.example", RecordType::A), Nothing, "checking device");
    assert_eq!(desk.look_up(3, "ledger.corp.example", RecordType::A), Nothing, "hidden or not");
    desk.send_readings();
    desk.judge(vec![open("crm", "crm.corp.example")]);
    assert_eq!(desk.told(2), Records(vec![v4]));
    assert_eq!(desk.told(3), NO_SUCH_NAME);
    desk.session.handle_stream_closed(false, desk.now);
    desk.pass(secs(300));
    assert_eq!(desk.look_up(4, "crm.corp.example", RecordType::A), LATER, "unreachable");
    assert_eq!(desk.look_up(5, "ledger.corp.example", RecordType::A), LATER, "and asked of nobody else");
    assert_eq!(desk.look_up(6, "example.net", RecordType::A), Forwarded);
}

#[test]
fn what_was_never_a_question_is_answered_by_nobody() {
    let mut desk = Desk::connected(vec![]);
    let answer = question("wiki.demo", RecordType::A).into_response().to_vec().unwrap();
    for message in [answer.clone(), vec![], answer[..11].to_vec()] {
        desk.session.handle_query(QueryId(1), &message, Transport::Udp, desk.now);
        assert_eq!(desk.take(|output| matches!(output, Output::Silence { .. }).then_some(())).len(), 1);
        assert_eq!(desk.told(1), Nothing);
    }
}
