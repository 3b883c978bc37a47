use ztna_model::{Flow, Random as _, Secret, Time, WgPublic};
use ztna_net::clock::Clock;
use ztna_policy::{Scope, Verdict, Via};
use ztna_tunnel::{Role, Tunnel, wg_public};

use crate::joined::{LONGEST, here, there};
use crate::machine::own_memory;
use crate::measure::Outcome;
use crate::report::{Goal, Report, Unit};
use crate::rules::{covered, rules, table};
use crate::seed::Seed;

/// What things take: by how much this process's own memory grows, the allocator's part included.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("memory");
    let mut seed = Seed::new(5);
    // Kept to the end: what one round gave back would hide what the next one takes.
    let mut kept = Vec::new();
    let (mut idle, mut live) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut gateway = Tunnel::new(&Secret::new(seed.array()), Tunnel::DEFAULT_MTU, Clock.now());
        let (added, settled) = peers(&mut gateway, &mut seed)?;
        idle.push(added);
        live.push(settled);
        kept.push(gateway);
    }
    report.row("a gateway's peer without a session", Unit::Bytes, &idle);
    report.goal("a gateway's peer with a session", Unit::Bytes, &live, Goal::AtMost(16_384.0));
    flow_table(report, &mut seed)
}

/// Bytes for each peer of a gateway: once it is added, and once there is a session.
fn peers(gateway: &mut Tunnel, seed: &mut Seed) -> Outcome<(f64, f64)> {
    let now = Clock.now();
    let secrets: Vec<Secret<[u8; 32]>> = (0..PEERS).map(|_| Secret::new(seed.array())).collect();
    let keys: Vec<WgPublic> = secrets.iter().map(wg_public).collect();
    let ((), added) = growth(|| {
        keys.iter().try_for_each(|key| {
            gateway.add_peer(*key, None, Role::Responder, seed, now).map(drop).map_err(Into::into)
        })
    })?;
    // What clients take and give back is not the gateway's: the first one has taken it already.
    shake_hands(gateway, secrets.first().ok_or("no peers")?, seed, now)?;
    let ((), settled) =
        growth(|| secrets.iter().skip(1).try_for_each(|secret| shake_hands(gateway, secret, seed, now)))?;
    let each = |bytes: u64| bytes as f64 / PEERS as f64;
    Ok((each(added), each(added + settled)))
}

/// A client comes, shakes hands and goes.
fn shake_hands(gateway: &mut Tunnel, secret: &Secret<[u8; 32]>, seed: &mut Seed, now: Time) -> Outcome {
    let mut client = Tunnel::new(secret, Tunnel::DEFAULT_MTU, now);
    let peer = client.add_peer(gateway.public(), None, Role::Initiator, seed, now)?;
    client.set_carriers(peer, &[there()]);
    client.announce(peer, now)?;
    let (mut datagram, mut inside) = ([0; LONGEST], [0; LONGEST]);
    for _ in 0..MESSAGES {
        let sent = client.poll(&mut datagram, now).ok_or("the client falls silent")?;
        gateway.decapsulate(datagram.get(..sent.length).ok_or("too long")?, here(), &mut inside, now)?;
        let Some(sent) = gateway.poll(&mut datagram, now) else { continue };
        client.decapsulate(datagram.get(..sent.length).ok_or("too long")?, there(), &mut inside, now)?;
    }
    Ok(())
}

fn flow_table(report: &mut Report, seed: &mut Seed) -> Outcome {
    let rules = rules(seed, SCOPE, Via::SITE)?;
    let flows = covered(seed, &rules, 70_000)?;
    let (mut table, empty) = growth(|| table(&rules))?;
    let mut filled = |flows: &[Flow]| {
        growth(|| {
            flows.iter().for_each(|flow| {
                let _: Verdict = table.outgoing(SCOPE, flow, 0);
            });
            Ok(())
        })
    };
    let (some, rest) = flows.split_at_checked(1_000).ok_or("too few flows")?;
    let ((), some) = filled(some)?;
    let ((), rest) = filled(rest)?;
    report.row("a flow table with 10,000 rules", Unit::Bytes, &[empty as f64]);
    report.row("  and 1,000 flows", Unit::Bytes, &[(empty + some) as f64]);
    report.row(format!("  and {} flows", table.flows()), Unit::Bytes, &[(empty + some + rest) as f64]);
    Ok(())
}

/// What `work` makes, and by how many bytes the process has grown meanwhile.
fn growth<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64)> {
    let before = own_memory().ok_or(UNKNOWN)?;
    let made = work()?;
    Ok((made, own_memory().ok_or(UNKNOWN)?.saturating_sub(before)))
}

const SCOPE: Scope = Scope::DEVICE;
const ROUNDS: usize = 3;
/// Few enough that no handshake needs a cookie.
const PEERS: usize = 400;
/// Of a client: its initiation, and the first datagram of the session.
const MESSAGES: usize = 2;
const UNKNOWN: &str = "this system does not say what a process takes";
