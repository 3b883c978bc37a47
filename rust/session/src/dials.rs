use std::collections::BTreeMap;
use std::time::Duration;

use ztna_api::device::{Ask, Wanted};
use ztna_model::{Decision, DenyReason, DomainName, Endpoint, Host, Port, Protocol, Time, secs};
use ztna_proxy::Verdict;

use crate::output::{DialId, Output};
use crate::resources::{covers, destination};
use crate::session::{Dial, Session};
use crate::state::{State, Through};
use crate::stream::Stream;

/// What local applications wait for.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    /// Dials that wait for the session to be ready.
    held: Vec<Held>,
    /// Dials that wait for the broker, by the number of the request.
    asked: BTreeMap<u64, Asked>,
    requests: u64,
}

#[derive(Clone, Debug)]
struct Held {
    dial: Dial,
    until: Time,
}

#[derive(Clone, Debug)]
struct Asked {
    wanted: Wanted,
    protocol: Protocol,
    port: Port,
    held: Vec<Held>,
}

/// What becomes of a dial.
enum Outcome {
    Go(Endpoint),
    Refuse(Verdict),
    Ask(Wanted),
    Hold,
}

impl Session {
    /// A local application wants to reach something.
    pub fn handle_dial(&mut self, dial: Dial, now: Time) {
        self.hasten_stream(now);
        self.place(Held { dial, until: now + PATIENCE }, now);
    }

    /// The application gave up.
    pub fn cancel_dial(&mut self, id: DialId) {
        self.dials.held.retain(|held| held.dial.id != id);
        for asked in self.dials.asked.values_mut() {
            asked.held.retain(|held| held.dial.id != id);
        }
    }

    /// A grant answers every request that it covers, whoever asked.
    pub(crate) fn answer_covered(&mut self, request: Option<u64>, grant: &ztna_model::Grant) {
        let covered = |number: &u64, asked: &Asked| {
            Some(*number) == request || covers(grant, &asked.wanted, asked.protocol, asked.port)
        };
        let answered: Vec<u64> = self
            .dials
            .asked
            .iter()
            .filter(|(number, asked)| covered(number, asked))
            .map(|(number, _)| *number)
            .collect();
        for number in answered {
            let Some(asked) = self.dials.asked.remove(&number) else { continue };
            for held in asked.held {
                let Dial { host, protocol, port, .. } = &held.dial;
                let answer = Ok(destination(&asked.wanted, host, *protocol, *port));
                self.push(Output::Dialled { dial: held.dial.id, answer });
            }
        }
    }

    /// The broker refused a request.
    pub(crate) fn refuse_asked(&mut self, request: u64, decision: Decision) {
        let Some(asked) = self.dials.asked.remove(&request) else { return };
        // A yes is no refusal: something is wrong on the broker's side.
        let verdict = Verdict::refusal(decision).unwrap_or(Verdict::denied(DenyReason::Fault));
        for held in asked.held {
            self.push(Output::Dialled { dial: held.dial.id, answer: Err(verdict.clone()) });
        }
    }

    pub(crate) fn refuse_all_dials(&mut self, reason: DenyReason) {
        self.reopen_asks();
        for held in std::mem::take(&mut self.dials.held) {
            self.push(Output::Dialled { dial: held.dial.id, answer: Err(Verdict::denied(reason)) });
        }
    }

    /// The stream that was asked is gone: hold the dials until there is another one.
    pub(crate) fn reopen_asks(&mut self) {
        let asked = std::mem::take(&mut self.dials.asked);
        self.dials.held.extend(asked.into_values().flat_map(|asked| asked.held));
    }

    /// Looks again at the dials that wait for the session.
    pub(crate) fn retry_dials(&mut self) {
        let now = self.now;
        for held in std::mem::take(&mut self.dials.held) {
            self.place(held, now);
        }
    }

    pub(crate) fn pass_time_on_dials(&mut self, now: Time) {
        let late = |held: &Held| now >= held.until;
        let mut refused: Vec<Held> = self.dials.held.iter().filter(|held| late(held)).cloned().collect();
        self.dials.held.retain(|held| !late(held));
        for asked in self.dials.asked.values_mut() {
            refused.extend(asked.held.iter().filter(|held| late(held)).cloned());
            asked.held.retain(|held| !late(held));
        }
        for held in refused {
            let answer = Err(Verdict::denied(DenyReason::BrokerAway));
            self.push(Output::Dialled { dial: held.dial.id, answer });
        }
    }

    pub(crate) fn dials_wake(&self) -> Option<Time> {
        let asked = self.dials.asked.values().flat_map(|asked| &asked.held);
        self.dials.held.iter().chain(asked).map(|held| held.until).min()
    }

    fn place(&mut self, held: Held, now: Time) {
        match self.outcome(&held.dial) {
            Outcome::Go(endpoint) => self.push(Output::Dialled { dial: held.dial.id, answer: Ok(endpoint) }),
            Outcome::Refuse(verdict) => {
                self.push(Output::Dialled { dial: held.dial.id, answer: Err(verdict) });
            }
            Outcome::Hold => self.dials.held.push(held),
            Outcome::Ask(wanted) => self.ask(wanted, held, now),
        }
    }

    fn outcome(&mut self, dial: &Dial) -> Outcome {
        match self.state.lets_through() {
            Through::Granted => self.outcome_when_connected(dial),
            Through::Nothing => Outcome::Refuse(Verdict::denied(DenyReason::SignedOut)),
            Through::ControlOnly => match &self.state {
                State::AwaitingAdmission { .. } => {
                    Outcome::Refuse(Verdict::denied(DenyReason::DeviceNotAdmitted))
                }
                State::Unreachable => Outcome::Refuse(Verdict::denied(DenyReason::BrokerAway)),
                State::SignedOut { .. } | State::SigningIn | State::Off => {
                    Outcome::Refuse(Verdict::denied(DenyReason::SignedOut))
                }
                State::CheckingDevice
                | State::Connecting
                | State::Connected
                | State::Reconnecting
                | State::NeedsAttention
                | State::Asleep => Outcome::Hold,
            },
        }
    }

    fn outcome_when_connected(&mut self, dial: &Dial) -> Outcome {
        // What is hidden and what does not exist are the same here: neither is in the list.
        let host = self.behind(&dial.host);
        let meant = host
            .as_ref()
            .and_then(|host| self.resources.meant(host, dial.protocol, dial.port, self.suffixes()));
        let (Some(host), Some(visible)) = (&host, meant) else {
            return Outcome::Refuse(Verdict::NOT_FOUND);
        };
        if let Some(verdict) = Verdict::refusal(visible.decision.clone()) {
            return Outcome::Refuse(verdict);
        }
        match self.wanted_for(host) {
            Err(verdict) => Outcome::Refuse(verdict),
            Ok(wanted) if self.resources.grant(&wanted, dial.protocol, dial.port).is_some() => {
                Outcome::Go(destination(&wanted, &dial.host, dial.protocol, dial.port))
            }
            Ok(wanted) if matches!(self.stream, Stream::Open(_)) => Outcome::Ask(wanted),
            Ok(_) => Outcome::Hold,
        }
    }

    fn ask(&mut self, wanted: Wanted, held: Held, now: Time) {
        let (protocol, port) = (held.dial.protocol, held.dial.port);
        let same =
            |asked: &&mut Asked| asked.wanted == wanted && asked.protocol == protocol && asked.port == port;
        if let Some(asked) = self.dials.asked.values_mut().find(same) {
            return asked.held.push(held);
        }
        match self.send_ask(&wanted, protocol, port, now) {
            Some(request) => {
                self.dials.asked.insert(request, Asked { wanted, protocol, port, held: vec![held] });
            }
            None => self.dials.held.push(held),
        }
    }

    /// Asks the broker for a lease, once the device key has shown itself; gives the request's number.
    pub(crate) fn send_ask(
        &mut self,
        wanted: &Wanted,
        protocol: Protocol,
        port: Port,
        now: Time,
    ) -> Option<u64> {
        if !self.is_present(now) {
            return None;
        }
        self.dials.requests += 1;
        let request = self.dials.requests;
        let (carriers, avoid) = (self.carriers.clone(), self.avoid.take());
        let ask = Ask { request, wanted: wanted.clone(), protocol, port, carriers, avoid };
        if let Stream::Open(open) = &mut self.stream {
            open.expect_answer(now);
        }
        self.push(Output::Send(Box::new(ask.into())));
        Some(request)
    }

    /// Whether a dial waits for a lease to the name.
    pub(crate) fn is_dialled(&self, name: &DomainName) -> bool {
        let is_meant =
            |asked: &Asked| matches!(&asked.wanted, Wanted::Name { name: other, .. } if other == name);
        self.dials.asked.values().any(is_meant)
    }
}

impl Dial {
    /// A TCP connection that the local proxy was asked for.
    pub const fn tcp(id: DialId, host: Host, port: Port) -> Self {
        Self { id, host, protocol: Protocol::Tcp, port }
    }

    /// A flow of datagrams.
    pub const fn udp(id: DialId, host: Host, port: Port) -> Self {
        Self { id, host, protocol: Protocol::Udp, port }
    }

    /// Echoes, which have no port.
    pub const fn echo(id: DialId, host: Host) -> Self {
        Self { id, host, protocol: Protocol::IcmpEcho, port: Port::LOWEST }
    }
}

/// How long an application waits for the session, the broker and the gateway together.
const PATIENCE: Duration = secs(10);
