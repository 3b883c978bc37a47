use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ztna_model::WallTime;
use ztna_pdp::Alarm;

/// The latest alarms, for whoever asks; each is logged as it is raised.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<VecDeque<(WallTime, String)>>>);

impl Alarms {
    /// When what was raised, the latest last.
    pub fn latest(&self) -> Vec<(WallTime, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn raise(&self, alarm: &Alarm, now: WallTime) {
        let words = words(alarm);
        match alarm {
            Alarm::StoreBack => tracing::info!(alarm = words),
            Alarm::StoreDown
            | Alarm::NotDurable
            | Alarm::GatewaySilent { .. }
            | Alarm::Cloned { .. }
            | Alarm::CannotSign
            | Alarm::ClockJumped { .. } => tracing::warn!(alarm = words),
        }
        self.keep(words, now);
    }

    /// Raises an alarm that no decision has: the same words once in a row.
    pub(crate) fn tell(&self, words: String, now: WallTime) {
        if self.latest().last().is_none_or(|(_, before)| *before != words) {
            tracing::error!(alarm = words);
            self.keep(words, now);
        }
    }

    fn keep(&self, words: String, now: WallTime) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while latest.len() >= MOST {
            latest.pop_front();
        }
        latest.push_back((now, words));
    }
}

fn words(alarm: &Alarm) -> String {
    match alarm {
        Alarm::StoreDown => "the store takes no writes: no new grants until it does".into(),
        Alarm::StoreBack => "the store takes writes again".into(),
        Alarm::NotDurable => {
            "a revocation is in force and not written down: a restart would forget it".into()
        }
        Alarm::GatewaySilent { gateway, sid, ends_by } => {
            let by = ends_by.as_secs();
            format!(
                "gateway {gateway} does not acknowledge that session {sid} is cut: its leases end by {by}"
            )
        }
        Alarm::Cloned { sid } => format!("two devices used the key of session {sid}: it was ended"),
        Alarm::CannotSign => "the lease key does not sign".into(),
        Alarm::ClockJumped { by_ms } => format!("the wall clock jumped by {by_ms} ms"),
    }
}

const MOST: usize = 100;
