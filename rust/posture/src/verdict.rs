use ztna_model::{Date, FactKind, FactState, FactValue};

use crate::release::Release;
use crate::requirements::Requirements;

/// A state and its reason, in a sentence that does not blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) state: FactState,
    pub(crate) why: String,
}

/// Whether `value` is as asked; nothing if it does not have the form that facts of this kind have.
///
/// One arm for each kind, so this is the whole rule book. Arms with a threshold have a function below; the
/// others are a yes or a no, and say here which of the two is good.
pub(crate) fn judge(kind: FactKind, value: &FactValue, asked: &Requirements, today: Date) -> Option<Verdict> {
    Some(match kind {
        FactKind::OsSupported => system(text(value)?, &asked.releases, today),
        FactKind::KernelCurrent => kernel(text(value)?),
        FactKind::PatchAge => updates(number(value)?, asked.patch_age_days),
        FactKind::DiskEncrypted => pass_if(
            flag(value)?,
            "The disk that holds your files is encrypted.",
            "The disk that holds your files is not encrypted.",
        ),
        FactKind::SecureBoot => pass_if(flag(value)?, "Secure Boot is on.", "Secure Boot is off."),
        FactKind::Tpm => pass_if(flag(value)?, "A TPM 2.0 is present.", "There is no TPM 2.0."),
        FactKind::Firewall => pass_if(flag(value)?, "A firewall is on.", "No firewall is on."),
        FactKind::ScreenLock => {
            pass_if(flag(value)?, "The screen locks by itself.", "The screen does not lock by itself.")
        }
        FactKind::AutomaticLogin => pass_if(
            !flag(value)?,
            "Nobody is logged in without being asked.",
            "Somebody is logged in without being asked.",
        ),
        FactKind::RunningAsRoot => {
            pass_if(!flag(value)?, "The connector does not run as root.", "The connector runs as root.")
        }
        FactKind::DebuggerAttached => pass_if(
            !flag(value)?,
            "No debugger is attached to the connector.",
            "A debugger is attached to the connector.",
        ),
        FactKind::ClockSkew => clock(number(value)?, asked.clock_skew_s),
    })
}

/// A release is supported if one that is listed covers it and has not ended. The organisation's date comes
/// first, the device's own only where the organisation gives none.
fn system(text: &str, releases: &[Release], today: Date) -> Verdict {
    let Ok(running) = text.parse::<Release>() else {
        return unknown("The system's name could not be understood.");
    };
    let covering = releases.iter().filter(|listed| listed.covers(&running));
    let ends: Vec<Option<Date>> = covering.map(|listed| listed.until().or(running.until())).collect();
    let name = running.name();
    if ends.iter().any(|end| end.is_none_or(|end| today <= end)) {
        return pass(format!("`{name}` is supported."));
    }
    match ends.into_iter().flatten().max() {
        Some(end) => fail(format!("Support for `{name}` ended on {end}.")),
        None => fail(format!("`{name}` is not among the systems that are supported here.")),
    }
}

fn kernel(text: &str) -> Verdict {
    match text.split_once(" < ") {
        None => pass(format!("The newest kernel is running, `{text}`.")),
        Some((running, newest)) => {
            fail(format!("Kernel `{newest}` waits for a restart; `{running}` is running."))
        }
    }
}

fn updates(days: i64, most: u32) -> Verdict {
    let ago = match days {
        ..0 => return unknown("The last update lies in the future."),
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        _ => format!("{days} days ago"),
    };
    if days <= i64::from(most) {
        pass(format!("Updates were last installed {ago}."))
    } else {
        fail(format!("Updates were last installed {ago}; {most} days are allowed."))
    }
}

fn clock(ahead: i64, most: u32) -> Verdict {
    let off = ahead.unsigned_abs();
    let side = if ahead < 0 { "slow" } else { "fast" };
    if off <= u64::from(most) {
        pass("The clock is right.".to_owned())
    } else if off <= SIGN_IN_SKEW_S {
        fail(format!("The clock is {off} seconds {side}; {most} are allowed."))
    } else {
        fail(format!("The clock is {off} seconds {side}, so far off that sign-ins fail."))
    }
}

fn pass_if(good: bool, yes: &str, no: &str) -> Verdict {
    if good { pass(yes.to_owned()) } else { fail(no.to_owned()) }
}

const fn pass(why: String) -> Verdict {
    Verdict { state: FactState::Pass, why }
}

const fn fail(why: String) -> Verdict {
    Verdict { state: FactState::Fail, why }
}

fn unknown(why: &str) -> Verdict {
    Verdict { state: FactState::Unknown, why: why.to_owned() }
}

const fn flag(value: &FactValue) -> Option<bool> {
    match value {
        FactValue::Bool(flag) => Some(*flag),
        FactValue::Number(_) | FactValue::Text(_) => None,
    }
}

const fn number(value: &FactValue) -> Option<i64> {
    match value {
        FactValue::Number(number) => Some(*number),
        FactValue::Bool(_) | FactValue::Text(_) => None,
    }
}

fn text(value: &FactValue) -> Option<&str> {
    match value {
        FactValue::Text(text) => Some(text),
        FactValue::Bool(_) | FactValue::Number(_) => None,
    }
}

/// From here on identity providers refuse what a device signs and shows.
const SIGN_IN_SKEW_S: u64 = 300;

#[cfg(test)]
mod tests {
    use FactKind::*;
    use FactState::*;
    use FactValue::{Bool, Number};

    use super::*;

    fn said(text: &str) -> FactValue {
        FactValue::Text(text.to_owned())
    }

    /// What the default requirements say of one value on one day.
    fn check(kind: FactKind, value: FactValue, state: FactState, why: &str) {
        let today = "2026-11-23".parse().unwrap();
        let verdict = judge(kind, &value, &Requirements::default(), today).unwrap();
        assert_eq!(verdict.state, state, "{kind} = {value}: {}", verdict.why);
        assert!(verdict.why.starts_with(why), "{kind} = {value}: {}", verdict.why);
    }

    #[test]
    fn values_and_their_verdicts() {
        check(OsSupported, said("debian 12"), Pass, "`debian 12` is supported.");
        check(OsSupported, said("debian 12 until 2020-01-01"), Pass, "`debian 12`"); // our date first
        check(OsSupported, said("debian 11"), Fail, "`debian 11` is not among");
        check(OsSupported, said("arch"), Pass, "`arch` is supported.");
        check(OsSupported, said("fedora 44 until 2027-05-19"), Pass, "`fedora 44` is supported.");
        check(
            OsSupported,
            said("fedora 42 until 2026-05-13"),
            Fail,
            "Support for `fedora 42` ended on 2026-05-13.",
        );
        check(OsSupported, said("fedora 43 until 2026-11-23"), Pass, "`fedora 43`"); // its last day
        check(OsSupported, said("rhel 9.6"), Pass, "`rhel 9.6` is supported.");
        check(OsSupported, said("TempleOS"), Unknown, "The system's name could not be understood.");
        check(KernelCurrent, said("6.1.0-41-amd64"), Pass, "The newest kernel is running");
        check(KernelCurrent, said("6.1.0-40-amd64 < 6.1.0-41-amd64"), Fail, "Kernel `6.1.0-41-amd64` waits");
        check(PatchAge, Number(0), Pass, "Updates were last installed today.");
        check(PatchAge, Number(30), Pass, "Updates were last installed 30 days ago.");
        check(PatchAge, Number(31), Fail, "Updates were last installed 31 days ago; 30 days are allowed.");
        check(PatchAge, Number(i64::MAX), Fail, "Updates were last installed");
        check(PatchAge, Number(-1), Unknown, "The last update lies in the future.");
        check(DiskEncrypted, Bool(true), Pass, "The disk that holds your files is encrypted.");
        check(DiskEncrypted, Bool(false), Fail, "The disk that holds your files is not encrypted.");
        check(SecureBoot, Bool(true), Pass, "Secure Boot is on.");
        check(SecureBoot, Bool(false), Fail, "Secure Boot is off.");
        check(Tpm, Bool(true), Pass, "A TPM 2.0 is present.");
        check(Tpm, Bool(false), Fail, "There is no TPM 2.0.");
        check(Firewall, Bool(true), Pass, "A firewall is on.");
        check(Firewall, Bool(false), Fail, "No firewall is on.");
        check(ScreenLock, Bool(true), Pass, "The screen locks by itself.");
        check(ScreenLock, Bool(false), Fail, "The screen does not lock by itself.");
        check(AutomaticLogin, Bool(false), Pass, "Nobody is logged in");
        check(AutomaticLogin, Bool(true), Fail, "Somebody is logged in");
        check(RunningAsRoot, Bool(false), Pass, "The connector does not run as root.");
        check(RunningAsRoot, Bool(true), Fail, "The connector runs as root.");
        check(DebuggerAttached, Bool(false), Pass, "No debugger");
        check(DebuggerAttached, Bool(true), Fail, "A debugger");
        check(ClockSkew, Number(0), Pass, "The clock is right.");
        check(ClockSkew, Number(-120), Pass, "The clock is right.");
        check(ClockSkew, Number(121), Fail, "The clock is 121 seconds fast; 120 are allowed.");
        check(ClockSkew, Number(-300), Fail, "The clock is 300 seconds slow; 120 are allowed.");
        check(ClockSkew, Number(301), Fail, "The clock is 301 seconds fast, so far off");
        check(ClockSkew, Number(i64::MIN), Fail, "The clock is 9223372036854775808 seconds slow, so far off");
    }

    #[test]
    fn a_value_of_another_form_has_no_verdict() {
        let today = "2026-11-23".parse().unwrap();
        let right = |kind| match kind {
            OsSupported | KernelCurrent => said("debian 12"),
            PatchAge | ClockSkew => Number(1),
            DiskEncrypted | SecureBoot | Tpm | Firewall | ScreenLock | AutomaticLogin | RunningAsRoot
            | DebuggerAttached => Bool(true),
        };
        for kind in FactKind::ALL {
            for value in [said("debian 12"), Number(1), Bool(true)] {
                let verdict = judge(kind, &value, &Requirements::default(), today);
                assert_eq!(verdict.is_some(), value == right(kind), "{kind} = {value}");
            }
        }
    }
}
