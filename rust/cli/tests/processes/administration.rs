//! Answers for programs are JSON, and "no" is an exit of its own.

use serde_json::Value;
use ztna_api::admin::{Group, GroupClaim, Op};
use ztna_broker::admin::Client;

use crate::process::{OPENZTNA, Said, run};
use crate::world::World;

#[tokio::test]
async fn every_list_and_every_status_is_json_for_programs() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    world.done(&["holds", "place", "resource:board", "--reason", "under repair"]).await;
    let rows: [(&[&str], &str, usize); 11] = [
        (&["accounts", "list"], "accounts", 1),
        (&["people", "list"], "people", 1),
        (&["groups", "list"], "groups", 1),
        (&["devices", "list"], "devices", 1),
        (&["resources", "list"], "resources", 4),
        (&["sites", "list"], "sites", 1),
        (&["gateways", "list"], "gateways", 1),
        (&["policies", "list"], "policies", 3),
        (&["sessions", "list"], "sessions", 1),
        (&["holds", "list"], "holds", 1),
        (&["policies", "test", "ana", "wiki"], "verdicts", 1),
    ];
    for (args, list, length) in rows {
        let answer = world.json(args).await;
        assert_eq!(answer[list].as_array().map(Vec::len), Some(length), "{args:?}: {answer}");
    }
    for args in
        [&["status"][..], &["settings", "show"], &["keys"], &["alarms"], &["policies", "preview", "wiki"]]
    {
        let answer = world.json(args).await;
        assert!(answer.is_object(), "{args:?}: {answer}");
    }
    let (gateway, connector) = (world.dir.text("gateway.toml"), world.dir.text("ana.toml"));
    for args in [
        &["--json", "gateway", "--config", &gateway, "status"][..],
        &["--json", "status", "--config", &connector],
        &["--json", "posture", "--config", &connector],
    ] {
        let Said { code, out, err } = run(OPENZTNA, args, "").await;
        let answer: Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"));
        assert!(code == 0 && (answer.is_object() || answer.is_array()), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn one_setting_is_set_and_the_others_stay() {
    let world = World::new().await;
    let before = world.json(&["settings", "show"]).await;
    let rows = [
        ("lease_ttl_s", "60", "/settings/lease_ttl_s"),
        ("title", "Acme & Co", "/settings/title"),
        ("requirements.tier", "2", "/settings/requirements/tier"),
        ("posture", r#"["screen_lock"]"#, "/settings/posture"),
    ];
    let mut expected = before;
    for (key, value, at) in rows {
        world.done(&["settings", "set", key, value]).await;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        *expected.pointer_mut(at).expect(at) = value;
        assert_eq!(world.json(&["settings", "show"]).await, expected, "{key}");
    }
    let rows = [
        ("lease_ttl", "60", "lease_ttl_s"),
        ("lease_ttl_s", "soon", "u64"),
        ("lease_ttl_s", "0", "5 to 300"),
        ("title.short", "A", "has no parts"),
    ];
    for (key, value, expected) in rows {
        let said = world.admin(&["settings", "set", key, value]).await;
        assert!(said.code == 1 && said.err.contains(expected), "{key}: {}", said.err);
    }
}

#[tokio::test]
async fn a_look_at_the_device_takes_nothing_away() {
    let world = World::new().await;
    let clock = r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki")
when { context.device.clock_skew.state == "pass" };"#;
    world.put_policy("wiki", clock).await;
    let ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let connector = world.dir.text("ana.toml");
    for _ in 0..2 {
        let said = run(OPENZTNA, &["--json", "posture", "--config", &connector], "").await;
        let facts: Value = serde_json::from_str(&said.out).unwrap();
        let clock = facts.as_array().unwrap().iter().find(|fact| fact["kind"] == "clock_skew").unwrap();
        assert_eq!(clock["state"], "pass", "{clock}");
        world.reaches(&ana.proxy, "wiki.test").await;
    }
}

#[tokio::test]
async fn no_is_not_failed() {
    let world = World::new().await;
    let rows: [(&[&str], i32); 5] = [
        (&["policies", "test", "ana", "wiki"], 0),
        (&["policies", "test", "ana", "payroll"], 2),
        (&["policies", "test", "ana", "ledger"], 2),
        (&["policies", "test", "ana", "qzx7"], 1),
        (&["policies", "test", "bob", "wiki"], 1),
    ];
    for (args, code) in rows {
        let said = world.admin(args).await;
        assert_eq!(said.code, code, "{args:?}: {}{}", said.out, said.err);
        assert_eq!(said.code == 0 || said.code == 2, said.err.is_empty(), "{args:?}: {}", said.err);
    }
    let ana = world.sign_in().await;
    let connector = world.dir.text("ana.toml");
    assert_eq!(run(OPENZTNA, &["status", "--config", &connector], "").await.code, 0);
    world.done(&["holds", "place", "person:ana", "--reason", "reported lost"]).await;
    world.until_state(&["needs-attention"]).await;
    assert_eq!(run(OPENZTNA, &["status", "--config", &connector], "").await.code, 2);
    drop(ana);
}

#[tokio::test]
async fn a_set_up_token_makes_one_owner_and_is_gone() {
    let world = World::new().await;
    let token = std::fs::read_to_string(world.dir.path("broker/setup-token")).unwrap();
    let wrong = world.admin(&["set-up", "ana", "--token", "guessed"]).await;
    assert_eq!(wrong.code, 1, "{}", wrong.err);
    world.done(&["set-up", "ana", "--token", &token]).await;
    assert!(!world.dir.path("broker/setup-token").exists());
    let again = world.admin(&["set-up", "ana", "--token", &token]).await;
    assert_eq!(again.code, 1, "{}", again.err);
    let people = world.json(&["people", "list"]).await;
    assert_eq!(people["people"][0]["roles"][0], "owner", "{people}");
}

#[tokio::test]
async fn answers_in_words_call_people_by_name() {
    let world = World::new().await;
    let _ana = world.sign_in().await;
    world.done(&["holds", "place", "person:ana", "--reason", "reported lost"]).await;
    let rows: [(&[&str], &str); 4] = [
        (&["holds", "list"], "person:Ana"),
        (&["devices", "list"], "Ana"),
        (&["sessions", "list"], "Ana"),
        (&["people", "list"], "Ana"),
    ];
    for (args, expected) in rows {
        let said = world.done(args).await;
        assert!(said.out.contains(expected), "{args:?}: {}", said.out);
    }
}

#[tokio::test]
async fn an_invitation_is_withdrawn_by_its_address_and_a_group_s_new_title_leaves_its_claims() {
    let world = World::new().await;
    world.done(&["people", "invite", "Bob", "--email", "bob@acme.example"]).await;
    world.done(&["people", "remove", "Bob@acme.example"]).await;
    let people = world.json(&["people", "list"]).await;
    assert_eq!(people["invitations"].as_array().map(Vec::len), Some(0), "{people}");
    assert_eq!(world.admin(&["people", "remove", "bob@acme.example"]).await.code, 1);

    let issuer = people["people"][0]["id"]["issuer"].as_str().unwrap_or_else(|| panic!("{people}"));
    let mut broker = Client::connect(&world.dir.path("broker/admin.sock")).await.unwrap();
    let claims = [GroupClaim { issuer: issuer.to_owned(), name: "all-staff".into() }].into();
    let group = Group { id: "staff".parse().unwrap(), title: "Staff".into(), claims };
    broker.ask(Op::GroupPut { group }).await.unwrap();
    world.done(&["groups", "put", "staff", "--title", "Everybody"]).await;
    let groups = world.json(&["groups", "list"]).await;
    let staff = &groups["groups"][0];
    assert_eq!(
        (&staff["title"], staff["claims"].as_array().map(Vec::len)),
        (&"Everybody".into(), Some(1)),
        "{staff}"
    );
}
