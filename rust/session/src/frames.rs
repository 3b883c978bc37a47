use ztna_api::device::{Mine, Notice, ToDevice, Welcome};
use ztna_api::keyset::KeySet;
use ztna_model::{EndReason, Time};

use crate::output::Output;
use crate::session::Session;
use crate::state::{State, Why};
use crate::stream::{Open, Patience, Stream};
use crate::transitions::Happened;

impl Session {
    /// The broker said something. What comes out of turn, or over a stream that is given up, is not listened to.
    pub fn handle_frame(&mut self, frame: ToDevice, now: Time) {
        self.now = self.now.max(now);
        match (&mut self.stream, frame) {
            (Stream::Closed | Stream::Waiting { .. }, _) => {}
            (Stream::Opening { .. }, frame) => self.greeted(frame, now),
            (Stream::Open(open), frame) => {
                open.heard();
                self.told(frame, now);
            }
        }
    }

    /// The first frames of a stream.
    fn greeted(&mut self, frame: ToDevice, now: Time) {
        match frame {
            ToDevice::Welcome(welcome) => self.welcomed(welcome, now),
            ToDevice::Waiting(waiting) => {
                self.stream = Stream::Open(Open::new(vec![], now));
                self.happen(Happened::KeptWaiting { code: waiting.code });
            }
            ToDevice::Ended(ended) => self.ended(ended.reason),
            ToDevice::Nonces(_)
            | ToDevice::FactsPlease(_)
            | ToDevice::Facts(_)
            | ToDevice::Resources(_)
            | ToDevice::Changed(_)
            | ToDevice::Granted(_)
            | ToDevice::Refused(_)
            | ToDevice::Over(_)
            | ToDevice::IsYours(_)
            | ToDevice::Notice(_) => {}
        }
    }

    fn told(&mut self, frame: ToDevice, now: Time) {
        match frame {
            ToDevice::Welcome(welcome) if matches!(self.state, State::AwaitingAdmission { .. }) => {
                self.welcomed(welcome, now);
            }
            ToDevice::Welcome(_) => {}
            ToDevice::Waiting(waiting) => {
                self.happen(Happened::KeptWaiting { code: waiting.code });
                self.retry_dials();
                self.retry_lookups();
            }
            ToDevice::Nonces(nonces) => {
                if let Stream::Open(open) = &mut self.stream {
                    open.add_nonces(nonces.nonces, now);
                }
                self.sign_statements(now);
                self.retry_dials();
                self.retry_lookups();
            }
            ToDevice::FactsPlease(please) => {
                if let Stream::Open(open) = &mut self.stream {
                    open.add_nonces(vec![please.nonce], now);
                }
                self.read_signals(now);
            }
            ToDevice::Facts(facts) => {
                self.facts.graded = facts.facts;
                self.judge();
                self.push(Output::Changed);
            }
            ToDevice::Resources(resources) => {
                self.take_suffixes(resources.suffixes);
                self.know_resources(resources.visible);
            }
            ToDevice::Changed(changed) => {
                if let Some(suffixes) = changed.suffixes {
                    self.take_suffixes(suffixes);
                }
                self.change_resources(changed.visible, changed.gone);
            }
            ToDevice::Granted(granted) => {
                self.allow(granted.grant.clone());
                self.answer_covered(granted.request, &granted.grant);
                self.look_up_under(granted.request, &granted.grant);
            }
            ToDevice::Refused(refused) => {
                self.refuse_lookups(refused.request, &refused.decision);
                self.refuse_asked(refused.request, refused.decision);
            }
            ToDevice::Over(over) => self.disallow(over.lease, over.reason),
            ToDevice::IsYours(asked) => {
                let mine = self.account.as_ref().is_some_and(|account| account.links.are(asked.next));
                self.push(Output::Send(Box::new(Mine { next: asked.next, mine }.into())));
            }
            ToDevice::Notice(notice) => self.tell(notice),
            ToDevice::Ended(ended) => self.ended(ended.reason),
        }
    }

    fn welcomed(&mut self, welcome: Welcome, now: Time) {
        let Some(account) = &mut self.account else { return };
        account.links.welcomed();
        account.person = Some(welcome.person);
        // A key set that is not newer, or not under the pinned root, leaves the known one in place.
        if let Ok(keys) =
            KeySet::verify(&welcome.keys, &account.discovery.org, &account.root, account.keys.seq)
        {
            account.keys = keys;
        }
        self.stream = Stream::Open(Open::new(welcome.nonces, now));
        self.patience = Patience::default();
        self.lost_at = None;
        self.sign_in_by = Some(welcome.sign_in_by);
        self.resources.known = false;
        self.facts.graded.clear();
        self.facts.asked(welcome.facts_max_age_s);
        self.save();
        self.happen(Happened::Welcomed);
        self.state_tunnel_key(now);
        self.read_signals(now);
    }

    fn ended(&mut self, reason: EndReason) {
        self.sign_out_here(Some(Why::Ended(reason)));
    }

    fn tell(&mut self, notice: Notice) {
        self.notices.push(notice);
        let excess = self.notices.len().saturating_sub(MOST_NOTICES);
        self.notices.drain(..excess);
        self.push(Output::Changed);
    }
}

/// Notices kept to be shown.
const MOST_NOTICES: usize = 16;
