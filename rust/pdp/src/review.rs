use std::collections::{BTreeMap, BTreeSet};

use ztna_api::device::{Changed, Facts, ToDevice};
use ztna_model::{DenyReason, LeaseId, SessionId, WallTime, secs};
use ztna_posture::next_change;

use crate::decide::reason_of;
use crate::ledger::Change;
use crate::pdp::Pdp;
use crate::rows::Session;
use crate::timers::Timer;

/// Whose decisions have to be made anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Affected {
    everybody: bool,
    sids: BTreeSet<SessionId>,
    /// Sessions that get a floor whether a lease ends or not.
    cut: BTreeMap<SessionId, DenyReason>,
}

impl Affected {
    pub(crate) const fn everybody(&mut self) {
        self.everybody = true;
    }

    pub(crate) fn add(&mut self, sids: impl IntoIterator<Item = SessionId>) {
        self.sids.extend(sids);
    }

    pub(crate) fn cut(&mut self, sid: SessionId, reason: DenyReason) {
        self.cut.insert(sid, reason);
    }
}

impl Pdp {
    /// Decides anew for all who are affected: floors and frames go out at once, rows and entries into `change`.
    pub(crate) fn review(&mut self, affected: Affected, change: &mut Change) {
        let sids: BTreeSet<SessionId> = if affected.everybody {
            self.rows.sessions.keys().copied().collect()
        } else {
            affected.sids.iter().chain(affected.cut.keys()).copied().collect()
        };
        for sid in sids {
            self.review_session(sid, affected.cut.get(&sid).copied(), change);
        }
    }

    fn review_session(&mut self, sid: SessionId, cut: Option<DenyReason>, change: &mut Change) {
        let Some(session) = self.rows.sessions.get(&sid).cloned() else { return };
        if !session.is_live() && cut.is_none() {
            return;
        }
        self.grade_facts(&session);
        let ended = self.no_longer_granted(&session);
        if cut.is_some() || !ended.is_empty() {
            let first = ended.first().map(|(_, reason)| *reason);
            self.floor(&session, cut.or(first).unwrap_or(DenyReason::Revoked), &ended, change);
        }
        if session.is_live() {
            self.later.insert(sid);
            self.look_again_at(sid);
        } else {
            self.dismiss(&session);
        }
    }

    fn no_longer_granted(&self, session: &Session) -> Vec<(LeaseId, DenyReason)> {
        let leases = self.index.leases_of(&session.sid).into_iter();
        let judged = leases.filter_map(|id| {
            let (judged, ttl) = self.decide_lease(&self.rows.leases.get(&id)?.lease);
            (!judged.decision.is_granted() || ttl.is_zero()).then(|| (id, reason_of(&judged.decision)))
        });
        judged.collect()
    }

    /// Computes what the session may know of, and tells its device what is different. This waits until floors and
    /// answers are out, and is done before anything else comes in.
    pub(crate) fn tell_what_changed(&mut self, sid: SessionId) {
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() else {
            return;
        };
        let session = &session;
        let visible = self.visible_to(session);
        let before = self.visible_set(&session.sid);
        let (changed, gone) = visible.since(&before);
        let suffixes = (visible.suffixes() != before.suffixes()).then(|| visible.suffixes().to_vec());
        self.devices.set_visible(session.sid, visible);
        let Some(stream) = self.devices.told_stream(&session.sid) else { return };
        if session.is_open() && !(changed.is_empty() && gone.is_empty() && suffixes.is_none()) {
            let position = self.next_position();
            self.tell(stream, ToDevice::Changed(Changed { position, visible: changed, gone, suffixes }));
        }
    }

    /// Tells a device how its facts count today.
    pub(crate) fn tell_facts(&mut self, session: &Session) {
        if let Some(stream) = self.devices.told_stream(&session.sid) {
            let facts = self.facts_at(&session.device, self.clock.wall());
            self.tell(stream, ToDevice::Facts(Facts { facts }));
        }
    }

    /// Sets the timer for the next moment at which the session's decisions may change by themselves.
    pub(crate) fn look_again_at(&mut self, sid: SessionId) {
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() else {
            return;
        };
        let due = self.clock.boot_at(self.next_change_of(&session));
        if self.devices.review_due(sid, due) {
            self.timers.set(due, Timer::Review(sid));
        }
    }

    fn next_change_of(&self, session: &Session) -> WallTime {
        let now = self.clock.wall();
        let facts = self.facts_at(&session.device, now);
        let reads = self.engine.reads();
        let evidence = session.auth.idp_seen + secs(self.settings().idp_seen_max_s);
        let minute = WallTime::from_secs((now.as_secs() / 60 + 1) * 60);
        let edges = [
            Some(self.ends_at(session)),
            Some(evidence).filter(|edge| *edge > now),
            next_change(&facts, now, &self.requirements),
            (reads.ages || reads.time).then_some(minute),
        ];
        edges.into_iter().flatten().min().unwrap_or(session.expires).max(now)
    }

    /// The moment has come: the session ends, or is decided anew.
    pub(crate) fn session_due(&mut self, sid: SessionId) {
        if !self.devices.is_due(&sid, self.clock.boot()) {
            return;
        }
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() else {
            return;
        };
        if self.clock.wall() >= self.ends_at(&session) {
            return self.end_worn_out(&session);
        }
        let mut affected = Affected::default();
        affected.add([sid]);
        let mut change = Change::default();
        self.review(affected, &mut change);
        if !change.writes.is_empty() || !change.audit.is_empty() {
            self.enforce(change, |_, _| ());
        }
        self.tell_facts(&session);
    }
}
