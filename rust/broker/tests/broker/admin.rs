//! The administrators' socket: who is heard, what is understood, and that every question has its answer.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::geteuid;
use rustix::thread::{Uid, set_thread_uid};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use ztna_api::admin::{AdminError, Answer, LONGEST, Op, Role};
use ztna_broker::admin::CallError;
use ztna_model::{PersonId, Secret};

use crate::phone::Phone;
use crate::world::World;

/// The socket without a client around it.
struct Line(BufReader<UnixStream>);

impl Line {
    async fn of(world: &World) -> Self {
        Self(BufReader::new(UnixStream::connect(world.state("admin.sock")).await.unwrap()))
    }

    async fn ask(&mut self, line: &str) -> Value {
        self.0.write_all(line.as_bytes()).await.unwrap();
        self.0.write_all(b"\n").await.unwrap();
        self.answer().await.expect("an answer")
    }

    async fn answer(&mut self) -> Option<Value> {
        let mut answer = String::new();
        self.0.read_line(&mut answer).await.ok()?;
        serde_json::from_str(&answer).ok()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_owner_is_made_by_the_token_that_lies_in_the_state_directory() {
    let mut world = World::new().await;
    let file = world.state("setup-token");
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!((mode(&file), mode(&world.config.state_dir)), (0o600, 0o700), "for its owner alone");
    let token = || Secret::new(std::fs::read_to_string(&file).unwrap());
    let person = PersonId { issuer: world.url("/openid"), subject: "ana".into() };
    let set_up = |token| Op::SetUp { token, person: person.clone(), name: "Ana".into() };
    let refused = async |op| match world.admin().await.ask(op).await {
        Err(CallError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(set_up(Secret::new("guess".to_owned()))).await, AdminError::BadToken);
    assert_eq!(world.ask(set_up(token())).await, Answer::Done {});
    assert!(!file.exists(), "it has served");
    assert!(matches!(refused(Op::SetUpToken {}).await, AdminError::Exists { .. }), "there is an owner");
    let roles = Op::PersonRoles { person: person.clone(), roles: [Role::Auditor].into() };
    assert_eq!(refused(roles).await, AdminError::LastOwner);
    assert_eq!(refused(Op::PersonRemove { person }).await, AdminError::LastOwner);
    world.stop().await;
    world.start().await;
    world.ask(Op::Status {}).await;
    assert!(!file.exists(), "no second one is offered");
}

#[tokio::test]
async fn a_set_up_token_is_good_once() {
    let world = World::new().await;
    let Answer::Token { token, .. } = world.ask(Op::SetUpToken {}).await else { panic!() };
    let mut at_once = tokio::task::JoinSet::new();
    for subject in ["ana", "bo", "mallory"] {
        let mut admin = world.admin().await;
        let person = PersonId { issuer: world.url("/openid"), subject: subject.into() };
        let op = Op::SetUp { token: token.clone(), person, name: subject.into() };
        at_once.spawn(async move { admin.ask(op).await.is_ok() });
    }
    assert_eq!(at_once.join_all().await.into_iter().filter(|done| *done).count(), 1);
}

#[tokio::test]
async fn every_operation_has_an_answer() {
    let world = World::new().await;
    let ana = world.person("ana").await;
    world.wiki(&ana).await;
    let phone = Phone::of(&world, "ana").await;
    let (sid, device) = (phone.tokens().sid, phone.tokens().device);
    let hold = world.ask(serde_json::from_value(hold_of(&ana)).unwrap()).await;
    let Answer::Revoked(revoked) = hold else { panic!() };
    let bo = json!({"issuer": ana.issuer, "subject": "bo"});
    let policy = r#"forbid(principal, action, resource == Resource::"wiki");"#;
    let printer = json!({
        "id": "printer", "title": "Printer", "site": "lab", "address": {"prefix": "192.0.2.9/32"},
        "protocol": "tcp", "ports": "631",
    });
    let rows = [
        (json!({"op": "set-up-token"}), "token"),
        (json!({"op": "set-up", "token": "guess", "person": ana, "name": "Ana"}), "bad-token"),
        (json!({"op": "person-invite", "who": {"person": bo}, "name": "Bo"}), "done"),
        (json!({"op": "person-invite", "who": {"email": "x@y.example"}, "name": "X"}), "invalid"),
        (json!({"op": "people"}), "people"),
        (json!({"op": "person-groups", "person": bo, "groups": ["staff"]}), "done"),
        (json!({"op": "person-roles", "person": bo, "roles": ["owner"]}), "done"),
        (json!({"op": "person-roles", "person": bo, "roles": []}), "last-owner"),
        (json!({"op": "invitation-remove", "email": "x@y.example"}), "unknown"),
        (json!({"op": "groups"}), "groups"),
        (json!({"op": "group-put", "group": {"id": "guests", "title": "Guests"}}), "done"),
        (json!({"op": "group-remove", "group": "guests"}), "done"),
        (json!({"op": "devices"}), "devices"),
        (json!({"op": "device-admit", "device": device}), "exists"),
        (json!({"op": "device-token", "life_s": 60}), "token"),
        (json!({"op": "resources"}), "resources"),
        (json!({"op": "sites"}), "sites"),
        (json!({"op": "site-put", "site": {"id": "lab", "title": "Lab"}}), "done"),
        (json!({"op": "resource-put", "resource": printer}), "done"),
        (json!({"op": "site-remove", "site": "lab"}), "in-use"),
        (json!({"op": "resource-remove", "resource": "printer"}), "done"),
        (json!({"op": "site-remove", "site": "lab"}), "done"),
        (json!({"op": "gateways"}), "gateways"),
        (json!({"op": "gateway-create", "gateway": "gw-1", "site": "hq"}), "token"),
        (json!({"op": "gateway-create", "gateway": "gw-1", "site": "hq"}), "token"), // it has not come
        (json!({"op": "gateway-revoke", "gateway": "gw-1"}), "revoked"),
        (json!({"op": "policies"}), "policies"),
        (
            json!({"op": "policy-preview", "change": {"change": "put", "policy": "no", "text": policy}}),
            "preview",
        ),
        (json!({"op": "policy-put", "policy": "no", "text": policy}), "done"),
        (json!({"op": "policy-put", "policy": "no", "text": "permit everything"}), "invalid"),
        (json!({"op": "policy-test", "person": ana, "resource": "wiki"}), "tested"),
        (json!({"op": "policy-remove", "policy": "no"}), "done"),
        (json!({"op": "sessions"}), "sessions"),
        (json!({"op": "holds"}), "holds"),
        (hold_of(&ana), "revoked"),
        (json!({"op": "hold-lift", "hold": revoked.hold}), "done"),
        (json!({"op": "settings"}), "settings"),
        (json!({"op": "settings-put", "settings": {"title": "Acme II"}}), "done"),
        (json!({"op": "status"}), "status"),
        (json!({"op": "session-end", "sid": sid}), "revoked"),
        (json!({"op": "device-end", "device": device}), "revoked"),
        (json!({"op": "accounts"}), "accounts"),
        (json!({"op": "account-add", "name": "cy", "display_name": "Cy"}), "account"),
        (json!({"op": "account-password", "name": "cy"}), "account"),
        (json!({"op": "account-password", "name": "cy", "password": "short"}), "invalid"),
        (json!({"op": "account-disable", "name": "cy", "disabled": true}), "account"),
        (json!({"op": "account-remove", "name": "cy"}), "done"),
        (json!({"op": "account-remove", "name": "cy"}), "unknown"),
        (json!({"op": "audit-verify"}), "verified"),
        (json!({"op": "audit-export", "after": 0}), "lines"),
        (json!({"op": "audit-erase", "text": "ANA"}), "erased"),
        (json!({"op": "back-up", "to": world.state("copy.sqlite")}), "backed-up"),
        (json!({"op": "back-up", "to": "copy.sqlite"}), "invalid"),
        (json!({"op": "keys"}), "keys"),
        (json!({"op": "alarms"}), "alarms"),
        (json!({"op": "person-remove", "person": ana}), "revoked"),
    ];
    let mut line = Line::of(&world).await;
    let before = length(&mut line).await;
    let count = rows.len() as u64;
    for (number, (mut asked, expected)) in rows.into_iter().enumerate() {
        asked["id"] = json!(number);
        let reply = line.ask(&asked.to_string()).await;
        assert_eq!(reply["id"], number);
        let tag = reply.pointer("/ok/answer").or(reply.pointer("/error/code"));
        assert_eq!(tag, Some(&json!(expected)), "{asked}: {reply}");
    }
    let after = length(&mut line).await;
    assert!(after - before > count, "each is a row of the audit log: {before} to {after} by {count}");
    let discovery = world.http().get(world.url("/.well-known/openztna")).send().await.unwrap();
    assert!(discovery.text().await.unwrap().contains("Acme II"));
}

fn hold_of(person: &PersonId) -> Value {
    json!({"op": "hold-place", "target": {"person": person}, "reason": "left the company"})
}

/// How long the audit log is.
async fn length(line: &mut Line) -> u64 {
    let reply = line.ask(r#"{"id":0,"op":"audit-verify"}"#).await;
    reply.pointer("/ok/length").unwrap_or_else(|| panic!("{reply}")).as_u64().unwrap()
}

#[tokio::test]
async fn f03_lines_that_are_not_understood_are_answered_and_the_next_one_is_heard() {
    let world = World::new().await;
    let mut line = Line::of(&world).await;
    let deep = "[".repeat(10_000);
    let rows = [
        ("", 0),
        ("x", 0),
        ("{}", 0),
        ("[]", 0),
        ("null", 0),
        ("\u{0}", 0),
        (deep.as_str(), 0),
        (r#"{"id":7}"#, 7),
        (r#"{"id":7,"op":"unheard-of"}"#, 7),
        (r#"{"id":7,"op":"session-end"}"#, 7),
        (r#"{"id":7,"op":"audit-export"}"#, 7),
        (r#"{"id":7,"op":"audit-export","after":-1}"#, 7),
        (r#"{"id":-7,"op":"status"}"#, 0),
        (r#"{"id":7,"op":["status"]}"#, 7),
        (r#"{"id":7,"op":"hold-place","target":{"person":"ana"},"reason":"x"}"#, 7),
    ];
    for (asked, id) in rows {
        let reply = line.ask(asked).await;
        let shown = asked.get(..60).unwrap_or(asked);
        assert_eq!(reply.pointer("/error/code"), Some(&json!("not-understood")), "{shown}: {reply}");
        assert_eq!(reply["id"], id, "{shown}");
    }
    line.0.write_all(b"\xff\xfe\n").await.unwrap();
    assert_eq!(line.answer().await.unwrap().pointer("/error/code"), Some(&json!("not-understood")));
    let reply = line.ask(r#"{"id":8,"op":"status"}"#).await;
    assert_eq!(reply.pointer("/ok/answer"), Some(&json!("status")));
}

#[tokio::test]
async fn h01_a_line_without_end_is_cut_off() {
    let world = World::new().await;
    let mut line = Line::of(&world).await;
    let long = vec![b' '; LONGEST + 2];
    let _ = line.0.write_all(&long).await; // the broker may be gone before the last of it
    let reply = line.answer().await;
    assert!(reply.is_none_or(|reply| reply.pointer("/error/code") == Some(&json!("not-understood"))));
    let mut rest = vec![];
    let _ = line.0.read_to_end(&mut rest).await; // or a reset: it was not read to its end
    assert_eq!(rest, b"", "nothing comes after it");
    Line::of(&world).await.ask(r#"{"id":8,"op":"status"}"#).await;
}

#[tokio::test]
async fn h01_callers_beyond_what_there_is_room_for_are_turned_away_and_then_heard_again() {
    let world = World::new().await;
    let mut callers = vec![];
    for _ in 0..40 {
        callers.push(Line::of(&world).await);
    }
    let mut heard = 0;
    for caller in &mut callers {
        let asked = caller.0.write_all(b"{\"id\":1,\"op\":\"status\"}\n").await;
        if asked.is_ok() && caller.answer().await.is_some() {
            heard += 1;
        }
    }
    assert_eq!(heard, 32);
    drop(callers);
    tokio::time::timeout(ztna_model::secs(5), async {
        loop {
            let mut line = Line::of(&world).await;
            if line.0.write_all(b"{\"id\":1,\"op\":\"status\"}\n").await.is_ok()
                && line.answer().await.is_some()
            {
                return;
            }
        }
    })
    .await
    .unwrap();
}

/// Another user can get as far as the socket only where an administrator has opened the directory: the broker still
/// asks the kernel who calls. Taking on another user's id is for root alone; without it, the modes have to do.
#[tokio::test]
async fn p1_5_another_user_is_not_heard() {
    let world = World::new().await;
    let socket = world.state("admin.sock");
    assert_eq!((mode(&socket), mode(&world.config.state_dir)), (0o600, 0o700));
    if !geteuid().is_root() {
        return;
    }
    for (path, mode) in [(world.around(), 0o755), (&*world.config.state_dir, 0o755), (&*socket, 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let ask = |uid: u32| {
        let socket = socket.clone();
        let calling = std::thread::spawn(move || {
            set_thread_uid(Uid::from_raw(uid)).unwrap(); // this thread's alone
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            let _ = stream.write_all(b"{\"id\":1,\"op\":\"status\"}\n"); // it may be closed already
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        tokio::task::spawn_blocking(move || calling.join().unwrap())
    };
    assert_eq!(ask(65_534).await.unwrap(), "");
    assert!(ask(0).await.unwrap().contains("\"ok\""), "and its own user is");
}
