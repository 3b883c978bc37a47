use super::{Device, DeviceState, Person, Row, Session};

impl Row {
    /// This row, but for what `tighter` takes away from it: both were made from the same row before. None where nothing
    /// of it can stay.
    pub(crate) fn restrained_by(&self, tighter: &Self) -> Option<Self> {
        match (self, tighter) {
            (Self::Session(row), Self::Session(tighter)) => Some(session(row, tighter).into()),
            (Self::Person(row), Self::Person(tighter)) => {
                let not_before = row.not_before.max(tighter.not_before);
                Some(Person { not_before, ..row.clone() }.into())
            }
            (Self::Device(row), Self::Device(tighter)) => Some(device(row, tighter).into()),
            (
                Self::Session(_)
                | Self::Person(_)
                | Self::Device(_)
                | Self::Organisation(_)
                | Self::Invitation(_)
                | Self::Group(_)
                | Self::Resource(_)
                | Self::Site(_)
                | Self::Gateway(_)
                | Self::Policy(_)
                | Self::Token(_)
                | Self::Enrolment(_)
                | Self::Hold(_)
                | Self::LeaseRow(_),
                _,
            ) => None,
        }
    }
}

fn session(row: &Session, tighter: &Session) -> Session {
    Session {
        epoch: row.epoch.max(tighter.epoch),
        floored: tighter.floored.or(row.floored),
        state: if tighter.is_live() { row.state } else { tighter.state },
        ..row.clone()
    }
}

fn device(row: &Device, tighter: &Device) -> Device {
    match tighter.state {
        DeviceState::Ended { .. } => tighter.clone(),
        DeviceState::Waiting { .. } | DeviceState::Admitted { .. } => {
            Device { received: tighter.received.clone(), ..row.clone() }
        }
    }
}
