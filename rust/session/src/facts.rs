use std::time::Duration;

use ztna_api::statement::Body;
use ztna_model::{Fact, Reading, Tier, Time, WallTime, secs};
use ztna_posture::{Requirements, grade};

use crate::output::Output;
use crate::session::Session;
use crate::stream::Stream;

/// What the device says about itself, and what the broker makes of it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// As the broker graded them.
    pub(crate) graded: Vec<Fact>,
    /// As this device would grade them: shown until the broker has spoken, never decided on.
    pub(crate) preview: Vec<Fact>,
    /// How old facts may be.
    max_age: Option<Duration>,
    /// When they are to be sent again: at half of that.
    due: Option<Time>,
}

impl Facts {
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn asked(&mut self, max_age_s: u64) {
        self.max_age = Some(secs(max_age_s));
    }
}

impl Session {
    /// Looks at the device again: by the broker's clock as well, once that was heard.
    pub fn read_signals(&mut self, now: Time) {
        self.facts.due = None;
        let broker_time = self.account.as_ref().map(|account| account.possession.clock().at(now));
        self.push(Output::ReadSignals { broker_time });
    }

    /// What a look at the device found, or a change that the platform told of. `wall` dates the preview alone.
    pub fn handle_readings(&mut self, readings: Vec<Reading>, wall: WallTime, now: Time) {
        self.facts.preview = grade(&readings, &Requirements::default(), Tier::Unproven, wall);
        self.facts.due = self.facts.max_age.map(|max_age| now + max_age / 2);
        if matches!(self.stream, Stream::Open(_)) {
            self.declare(Body::Facts { readings }, now);
        }
        self.push(Output::Changed);
    }

    pub(crate) fn pass_time_on_facts(&mut self, now: Time) {
        if self.facts_wake().is_some_and(|due| now >= due) {
            self.read_signals(now);
        }
    }

    /// Facts are sent again at half their age while the device is awake and connected.
    pub(crate) fn facts_wake(&self) -> Option<Time> {
        self.facts.due.filter(|_| matches!(self.stream, Stream::Open(_)))
    }
}
