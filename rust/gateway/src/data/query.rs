use ztna_model::{Endpoint, LeaseId, Time};
use ztna_tunnel::PeerId;

use super::thread::DataThread;
use crate::asking::{Lookup, Permit, Question, Reply, permit};

impl DataThread {
    /// A device asks what a name stands for. What is no question gets no answer, and neither does who asks too often.
    pub(super) fn asked(&mut self, peer: PeerId, from: Endpoint, bytes: &[u8], now: Time) {
        let question = Question::read(bytes).filter(|_| self.pace.admits(peer, now));
        let Some(question) = question else {
            self.questions.dropped += 1;
            return;
        };
        let reply = match permit(self.gate.held_by(peer), &question) {
            Permit::Refused => {
                self.questions.refused += 1;
                Reply::REFUSED
            }
            Permit::StandIn(stand_in) => Reply::stand_in(&question, stand_in),
            Permit::Pointer(name) => Reply::pointer(&name),
            Permit::Nothing => Reply::NOTHING,
            Permit::AskSite { lease, name, stand_in } => {
                let lookup = Lookup { peer, from, lease, question, name, stand_in };
                return self.ask_site(lookup);
            }
        };
        self.questions.answered += 1;
        self.gate.datapath.answer(peer, from, &reply.write(&question), &mut self.outgoing);
    }

    /// The site has spoken. Whoever has lost the lease meanwhile does not hear it.
    pub(super) fn answered(&mut self, peer: PeerId, from: Endpoint, lease: LeaseId, message: &[u8]) {
        if self.gate.lease(lease).is_some_and(|held| held.peer == peer) {
            self.questions.answered += 1;
            self.gate.datapath.answer(peer, from, message, &mut self.outgoing);
        }
    }

    fn ask_site(&mut self, lookup: Lookup) {
        // With so many under way already, the device may ask again.
        if self.lookups.try_send(lookup).is_err() {
            self.questions.dropped += 1;
        }
    }
}
