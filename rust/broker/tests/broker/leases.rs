//! Leases on their whole way: a device asks, a gateway takes, an administrator takes away.

use sqlx::{Connection as _, SqliteConnection};
use ztna_api::admin::{Answer, HoldTarget, Op, ReachState};
use ztna_api::device::ToDevice;
use ztna_api::gateway::{Declined, LeaseError, Renew, Statement, ToGateway};
use ztna_api::key::thumbprint;
use ztna_broker::admin::{LocalAnswer, LocalOp};
use ztna_model::{Decision, DenyReason, Holder, Lease, Signer as _, millis};

use crate::gate::{Gate, GateStream};
use crate::phone::{Phone, Stream};
use crate::world::World;

/// A broker, a gateway and a device, all connected.
struct Scene {
    world: World,
    gate: Gate,
    gateway: GateStream,
    phone: Phone,
    device: Stream,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let ana = world.person("ana").await;
        world.wiki(&ana).await;
        let gate = world.gateway("gw-1").await;
        let mut gateway = gate.connect(&world).await;
        assert_eq!(gateway.listed().await, []);
        let mut phone = Phone::of(&world, "ana").await;
        let device = phone.ready(&world).await;
        Self { world, gate, gateway, phone, device }
    }

    /// With a lease to the wiki in place.
    async fn granted() -> (Self, Lease) {
        let mut scene = Self::new().await;
        scene.device.ask(1, "wiki.demo").await;
        let lease = scene.gateway.takes().await;
        assert_eq!(scene.device.granted().await.grant.lease, lease.id);
        (scene, lease)
    }

    /// A resource that nobody may know of.
    async fn ledger(&self) {
        let ledger = serde_json::json!({
            "id": "ledger", "title": "Ledger", "site": "hq", "address": {"name": "ledger.demo"},
            "protocol": "tcp", "ports": "80",
        });
        self.world.ask(Op::ResourcePut { resource: serde_json::from_value(ledger).unwrap() }).await;
    }

    /// Why the device's lease ended.
    async fn over(&mut self, lease: &Lease) -> DenyReason {
        let ToDevice::Over(over) = self.device.wait_for("over").await else { unreachable!() };
        assert_eq!(over.lease, lease.id);
        over.reason
    }

    /// Whoever has this transaction open keeps the broker from writing.
    async fn keep_store(&self) -> SqliteConnection {
        let place = format!("sqlite://{}", self.world.state("store.sqlite").display());
        let mut connection = SqliteConnection::connect(&place).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }
}

fn hold() -> Op {
    let target = HoldTarget::Resource("wiki".parse().unwrap());
    Op::HoldPlace { target, reason: "stolen laptop".into(), until: None }
}

#[tokio::test]
async fn p5_9_a_device_is_told_of_a_lease_once_the_gateway_has_it() {
    let mut scene = Scene::new().await;
    scene.device.ask(7, "wiki.demo").await;
    let lease = scene.gateway.offered().await;
    assert!(scene.device.is_quiet().await, "nothing is granted that no gateway holds");
    scene.gateway.say(ztna_api::gateway::Held { lease: lease.id }).await;
    let granted = scene.device.granted().await;
    assert_eq!((granted.request, granted.grant.lease), (Some(7), lease.id));

    let Answer::Status(status) = scene.world.ask(Op::Status {}).await else { panic!() };
    assert_eq!((&lease.org, lease.incarnation), (&scene.world.org.org, status.incarnation));
    assert_eq!((lease.sid, lease.device), (scene.phone.tokens().sid, scene.phone.tokens().device));
    assert_eq!(lease.jkt, thumbprint(&scene.phone.key.public_key()));
    assert_eq!((&lease.gw, lease.run), (&scene.gate.id(), scene.gateway.beat().run));
    let beat = scene.gateway.beat().now;
    assert!(lease.at <= beat && beat < lease.at + lease.ttl && lease.ttl <= 120_000, "{lease:?}");
    let Holder::Tunnel { statement, .. } = &lease.holder;
    let stated = ztna_api::statement::verify(statement, &lease.jkt, &lease.org, lease.sid);
    assert!(stated.is_ok(), "the device's own word goes with it: {stated:?}");

    let grant = granted.grant;
    assert_eq!((&grant.gateway, &grant.covers), (&lease.gw, &lease.rule.covers));
    let said = Statement::verify(&grant.statement, &scene.gate.key().public_key()).unwrap();
    assert_eq!((said.wg_pub, said.run), (grant.gateway_key, lease.run), "the gateway's own word as well");
    assert_eq!((status.sessions, status.connected), (1, 1));
}

#[tokio::test]
async fn p4_3_what_is_hidden_and_what_does_not_exist_are_refused_alike() {
    let mut scene = Scene::new().await;
    scene.ledger().await;
    scene.device.ask(1, "ledger.demo").await;
    let hidden = scene.device.refused().await;
    scene.device.ask(2, "absent.demo").await;
    assert_eq!(hidden, scene.device.refused().await);
    let ToDevice::Resources(resources) = ({
        let mut stream = scene.phone.stream(&scene.world).await;
        stream.wait_for("resources").await
    }) else {
        unreachable!()
    };
    let seen: Vec<_> = resources.visible.iter().map(|visible| visible.resource.as_str()).collect();
    assert_eq!(seen, ["wiki"]);
}

#[tokio::test]
async fn a_gateway_that_declines_is_a_refusal_with_its_reason() {
    let mut scene = Scene::new().await;
    let rows = [
        (LeaseError::OutOfReach, DenyReason::OutOfReach),
        (LeaseError::TooMany, DenyReason::LimitReached),
        (LeaseError::BadStatement, DenyReason::Fault),
    ];
    for (number, (code, expected)) in rows.into_iter().enumerate() {
        scene.device.ask(number as u64, "wiki.demo").await;
        let lease = scene.gateway.offered().await;
        scene.gateway.say(Declined { lease: Some(lease.id), code }).await;
        let refused = scene.device.refused().await;
        assert!(
            matches!(refused, Decision::Denied { reason, .. } if reason == expected),
            "{code:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn p5_4_a_renewal_is_signed_on_the_beat_that_came_with_it() {
    let (mut scene, lease) = Scene::granted().await;
    tokio::time::sleep(millis(20)).await;
    let beat = scene.gateway.beat();
    scene.gateway.say(Renew { beat, leases: vec![lease.id] }).await;
    let ToGateway::Renewed(renewed) = scene.gateway.wait_for("renewed").await else { unreachable!() };
    let again = scene.gateway.verified(&renewed.leases[0]);
    assert_eq!(again.at, beat.now);
    let stamped = Lease { at: again.at, ttl: again.ttl, decision: again.decision, ..lease.clone() };
    assert_eq!(again, stamped, "and nothing else changes");

    let unheard_of = ztna_model::LeaseId([9; 16]);
    let beat = scene.gateway.beat();
    scene.gateway.say(Renew { beat, leases: vec![unheard_of] }).await;
    let ToGateway::Over(over) = scene.gateway.wait_for("over").await else { unreachable!() };
    assert_eq!(over.lease, unheard_of);
}

#[tokio::test]
async fn p3_6_the_floor_is_sent_first_and_the_answer_waits_for_the_commit() {
    let (mut scene, lease) = Scene::granted().await;
    let busy = scene.keep_store().await;
    let mut admin = scene.world.admin().await;
    let mut answer = tokio::spawn(async move { admin.ask(hold()).await });
    let floor = scene.gateway.floor().await;
    assert_eq!((floor.sid, &floor.keep[..]), (lease.sid, &[][..]));
    assert!(floor.epoch > lease.epoch);
    scene.gateway.holds(&floor).await;
    assert_eq!(scene.over(&lease).await, DenyReason::Held, "the device hears of it as well");
    let early = tokio::time::timeout(millis(200), &mut answer).await;
    assert!(early.is_err(), "nobody is told of what is not written down: {early:?}");

    busy.close().await.unwrap(); // which rolls back
    let Answer::Revoked(revoked) = answer.await.unwrap().unwrap() else { panic!() };
    assert!(revoked.durable);
    assert!(matches!(revoked.reach[..], [ref reach] if matches!(reach.state, ReachState::InForce { .. })));
    scene.device.ask(2, "wiki.demo").await;
    assert!(matches!(scene.device.refused().await, Decision::Denied { .. }));

    scene.world.ask(Op::HoldLift { hold: revoked.hold.unwrap() }).await;
    scene.device.ask(3, "wiki.demo").await;
    scene.gateway.takes().await;
    scene.device.granted().await;
}

#[tokio::test]
async fn p3_6_a_store_that_takes_nothing_does_not_stop_a_revocation() {
    let (mut scene, lease) = Scene::granted().await;
    let busy = scene.keep_store().await;
    let mut admin = scene.world.admin().await;
    let answer = tokio::spawn(async move { admin.ask(hold()).await });
    let floor = scene.gateway.floor().await;
    scene.gateway.holds(&floor).await;
    let Answer::Revoked(revoked) = answer.await.unwrap().unwrap() else { panic!() };
    assert!(!revoked.durable, "in force, not durable");
    assert_eq!(scene.over(&lease).await, DenyReason::Held);
    // Until the store is back, nothing new is granted: a grant waits for its row.
    scene.device.ask(2, "wiki.demo").await;
    assert!(matches!(scene.device.refused().await, Decision::Denied { .. }));
    busy.close().await.unwrap();

    let LocalAnswer::Alarms { alarms } = scene.world.ask_local(LocalOp::Alarms {}).await else { panic!() };
    assert!(alarms.iter().any(|(_, words)| words.contains("not written down")), "{alarms:?}");
}

#[tokio::test]
async fn p5_6_a_gateway_that_was_away_gets_floors_before_the_list() {
    let (mut scene, lease) = Scene::granted().await;
    drop(scene.gateway);
    let Answer::Revoked(revoked) = scene.world.ask(hold()).await else { panic!() };
    assert!(matches!(revoked.reach[..], [ref reach] if matches!(reach.state, ReachState::Silent { .. })));
    scene.gateway = scene.gate.connect(&scene.world).await;
    let frames = [
        scene.gateway.next().await.unwrap(),
        scene.gateway.next().await.unwrap(),
        scene.gateway.next().await.unwrap(),
    ];
    let [ToGateway::Welcome(_), ToGateway::Floor(floor), ToGateway::List(list)] = &frames else {
        panic!("{frames:?}")
    };
    assert_eq!((floor.sid, &floor.keep[..], &list.live[..]), (lease.sid, &[][..], &[][..]));
    scene.gateway.holds(floor).await;
    let Answer::Holds { mut holds } = scene.world.ask(Op::Holds {}).await else { panic!() };
    while matches!(holds[0].reach[0].state, ReachState::Silent { .. }) {
        let Answer::Holds { holds: again } = scene.world.ask(Op::Holds {}).await else { panic!() };
        holds = again;
    }
}

#[tokio::test]
async fn p5_6_what_stays_is_undisturbed_and_what_goes_is_told() {
    let (mut scene, lease) = Scene::granted().await;
    // A policy that changes nothing for this lease.
    scene.ledger().await;
    let deny = r#"forbid(principal, action, resource == Resource::"ledger");"#;
    scene.world.ask(Op::PolicyPut { policy: "ledger".parse().unwrap(), text: deny.into() }).await;
    let Answer::Status(status) = scene.world.ask(Op::Status {}).await else { panic!() };
    assert_eq!(status.leases, 1);
    scene.world.ask(Op::PolicyRemove { policy: "wiki".parse().unwrap() }).await;
    let mut floor = scene.gateway.floor().await;
    while !floor.keep.is_empty() {
        assert_eq!(scene.gateway.verified(&floor.keep[0]).id, lease.id);
        floor = scene.gateway.floor().await;
    }
    scene.gateway.holds(&floor).await;
    scene.over(&lease).await;
}

#[tokio::test]
async fn a_restarted_gateway_holds_nothing_and_is_offered_anew() {
    let (mut scene, lease) = Scene::granted().await;
    scene.gate.restart();
    scene.gateway = scene.gate.connect(&scene.world).await;
    assert_eq!(scene.gateway.listed().await, [], "the earlier run's leases are void");
    assert_eq!(scene.over(&lease).await, DenyReason::Restarted);
    let again = scene.gateway.takes().await;
    assert_ne!((again.id, again.run), (lease.id, lease.run));
    assert_eq!(scene.device.granted().await.grant.lease, again.id);
}

#[tokio::test]
async fn a_restarted_broker_knows_its_leases() {
    let (mut scene, lease) = Scene::granted().await;
    scene.world.stop().await;
    assert_eq!(scene.gateway.next().await.err(), Some(Some(1012)), "come back");
    scene.world.start().await;
    scene.gateway = scene.gate.connect(&scene.world).await;
    assert_eq!(scene.gateway.listed().await, [lease.id]);
    let beat = scene.gateway.beat();
    scene.gateway.say(Renew { beat, leases: vec![lease.id] }).await;
    let ToGateway::Renewed(renewed) = scene.gateway.wait_for("renewed").await else { unreachable!() };
    assert_eq!(scene.gateway.verified(&renewed.leases[0]).id, lease.id);
}

#[tokio::test]
async fn c04_a_session_that_ends_takes_its_leases_along() {
    let (mut scene, lease) = Scene::granted().await;
    let sid = scene.phone.tokens().sid;
    let Answer::Revoked(_) = scene.world.ask(Op::SessionEnd { sid }).await else { panic!() };
    let floor = scene.gateway.floor().await;
    assert_eq!((floor.sid, floor.keep.len()), (lease.sid, 0));
    assert_eq!(scene.device.wait_for("ended").await.kind(), "ended");
    let refresh = scene.phone.tokens().refresh.clone();
    assert!(scene.phone.renew(refresh).await.is_err());
}
