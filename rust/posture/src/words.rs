use ztna_model::{FactKind, FactState};

/// How to bring one fact in order: what is wrong, in a sentence, and what to do, step by step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advice {
    /// What is wrong, without blame.
    pub sentence: &'static str,
    /// What to do, in this order. Text between backticks is typed into a terminal.
    pub steps: &'static [&'static str],
}

/// What a person can do about a fact on a Linux machine; nothing where it passes.
pub const fn fix(kind: FactKind, state: FactState) -> Option<Advice> {
    match state {
        FactState::Pass => None,
        FactState::Fail => Some(failing(kind)),
        FactState::Unknown => Some(unseen(kind)),
        FactState::Unsupported => Some(Advice { sentence: lacking(kind), steps: &[ASK] }),
    }
}

/// What people call a fact.
pub const fn title(kind: FactKind) -> &'static str {
    match kind {
        FactKind::OsSupported => "Operating system",
        FactKind::KernelCurrent => "Kernel",
        FactKind::PatchAge => "Updates",
        FactKind::DiskEncrypted => "Disk encryption",
        FactKind::SecureBoot => "Secure Boot",
        FactKind::Tpm => "Security chip (TPM)",
        FactKind::Firewall => "Firewall",
        FactKind::ScreenLock => "Screen lock",
        FactKind::AutomaticLogin => "Automatic login",
        FactKind::RunningAsRoot => "Running as root",
        FactKind::DebuggerAttached => "Debugger",
        FactKind::ClockSkew => "Clock",
    }
}

/// Why an organisation asks for it.
pub const fn purpose(kind: FactKind) -> &'static str {
    match kind {
        FactKind::OsSupported => "A system that its maker no longer repairs stays open to known attacks.",
        FactKind::KernelCurrent => "An update of the kernel protects only after a restart.",
        FactKind::PatchAge => "Most attacks use holes for which there is an update already.",
        FactKind::DiskEncrypted => "If this machine is lost, nobody can read what is on it.",
        FactKind::SecureBoot => "Nobody can change the system before it starts.",
        FactKind::Tpm => "A key inside a chip cannot be copied to another machine.",
        FactKind::Firewall => "Others on the same network cannot reach into this machine.",
        FactKind::ScreenLock => "Nobody can go on in your name when you step away.",
        FactKind::AutomaticLogin => "Whoever switches this machine on must show who they are.",
        FactKind::RunningAsRoot => "The less the connector may do, the less an attacker gains by it.",
        FactKind::DebuggerAttached => "A debugger can read and change what the connector does.",
        FactKind::ClockSkew => "Sign-ins hold for minutes only, so they fail when the clock is wrong.",
    }
}

const fn failing(kind: FactKind) -> Advice {
    let (sentence, steps): (_, &[_]) = match kind {
        FactKind::OsSupported => (
            "This machine's system is not supported.",
            &[
                "Ask your administrator which systems are supported.",
                "Back up your files, then upgrade as the notes of the new release say.",
            ],
        ),
        FactKind::KernelCurrent => ("A newer kernel waits for a restart.", &["Restart this machine."]),
        FactKind::PatchAge => (
            "This machine was not updated for a while.",
            &[
                "Debian and Ubuntu: `sudo apt update && sudo apt upgrade`",
                "Fedora and its relatives: `sudo dnf upgrade`",
                "Arch: `sudo pacman -Syu`",
                "Restart if you are asked to.",
            ],
        ),
        FactKind::DiskEncrypted => (
            "This machine's disk is not encrypted.",
            &[
                "Back up your files: a disk in use cannot simply be switched over.",
                "Install the system again and choose encryption (LUKS) where the installer offers it.",
                "If you cannot do that yourself, ask your administrator.",
            ],
        ),
        FactKind::SecureBoot => (
            "Secure Boot is switched off on this machine.",
            &[
                "Restart, and open the firmware's settings (often with F2, F10 or Del).",
                "Switch Secure Boot on, and save.",
                "If the system does not start any more, switch it off again and ask your administrator.",
            ],
        ),
        FactKind::Tpm => (
            "This machine shows no security chip of version 2.0.",
            &[
                "Restart, and open the firmware's settings (often with F2, F10 or Del).",
                "Switch on what is called TPM, PTT or fTPM, and save.",
                "If there is no such setting, ask your administrator.",
            ],
        ),
        FactKind::Firewall => (
            "This machine has no firewall on.",
            &[
                "Debian and Ubuntu: `sudo apt install ufw && sudo ufw enable`",
                "If you work on this machine over SSH, first: `sudo ufw allow OpenSSH`",
                "Fedora and its relatives: `sudo systemctl enable --now firewalld`",
            ],
        ),
        FactKind::ScreenLock => (
            "This machine's screen does not lock by itself.",
            &[
                "GNOME: Settings, Privacy and Security, Screen Lock: switch the lock on, choose a delay.",
                "KDE Plasma: System Settings, Screen Locking: lock after some minutes.",
            ],
        ),
        FactKind::AutomaticLogin => (
            "This machine logs somebody in without asking who it is.",
            &[
                "GNOME: Settings, System, Users: switch Automatic Login off.",
                "KDE Plasma: System Settings, Login Screen, Behaviour: switch automatic login off.",
                "On a console: remove `--autologin` from the settings of `getty`.",
            ],
        ),
        FactKind::RunningAsRoot => (
            "The connector runs with all rights on this machine.",
            &["Stop it, and start it again as yourself, without `sudo`."],
        ),
        FactKind::DebuggerAttached => (
            "A debugger is attached to the connector.",
            &[
                "Detach it, then start the connector again.",
                "If you did not attach one, tell your administrator now.",
            ],
        ),
        FactKind::ClockSkew => (
            "This machine's clock is wrong.",
            &[
                "Let it be set by the network: `sudo timedatectl set-ntp true`",
                "Check the date and the time zone.",
            ],
        ),
    };
    Advice { sentence, steps }
}

const fn unseen(kind: FactKind) -> Advice {
    let (sentence, steps): (_, &[_]) = match kind {
        FactKind::OsSupported => ("This machine's system could not be recognised.", &[REPORT]),
        FactKind::KernelCurrent => (
            "It could not be seen whether the newest kernel is running.",
            &["Restart this machine after the next update.", REPORT],
        ),
        FactKind::PatchAge => (
            "It could not be seen when this machine was last updated.",
            &["Install the updates that wait.", REPORT],
        ),
        FactKind::DiskEncrypted => {
            ("It could not be seen whether this machine's disk is encrypted.", &[REPORT])
        }
        FactKind::SecureBoot => ("It could not be seen whether Secure Boot is on.", &[REPORT]),
        FactKind::Tpm => ("It could not be seen whether this machine has a security chip.", &[REPORT]),
        FactKind::Firewall => (
            "It could not be seen whether a firewall is on.",
            &["Use `ufw` or `firewalld`: what they do can be seen without being an administrator.", REPORT],
        ),
        FactKind::ScreenLock => (
            "It could not be seen whether this machine's screen locks by itself.",
            &["Switch the lock on in the settings of your desktop.", REPORT],
        ),
        FactKind::AutomaticLogin => {
            ("It could not be seen whether somebody is logged in without being asked.", &[REPORT])
        }
        FactKind::RunningAsRoot => ("It could not be seen with which rights the connector runs.", &[REPORT]),
        FactKind::DebuggerAttached => {
            ("It could not be seen whether a debugger is attached to the connector.", &[REPORT])
        }
        FactKind::ClockSkew => (
            "It could not be seen whether this machine's clock is right.",
            &["Connect to your organisation once: the clock is compared with its own.", REPORT],
        ),
    };
    Advice { sentence, steps }
}

const fn lacking(kind: FactKind) -> &'static str {
    match kind {
        FactKind::OsSupported => "This machine has no system that could be checked.",
        FactKind::KernelCurrent => "This machine has no kernel of its own.",
        FactKind::PatchAge => "This machine is not updated by packages.",
        FactKind::DiskEncrypted => "This machine's disk cannot be encrypted.",
        FactKind::SecureBoot => "This machine cannot do Secure Boot.",
        FactKind::Tpm => "This machine cannot have a security chip.",
        FactKind::Firewall => "This machine cannot have a firewall.",
        FactKind::ScreenLock => "This machine has no screen to lock.",
        FactKind::AutomaticLogin => "Nobody logs in on this machine.",
        FactKind::RunningAsRoot => "This machine has no root.",
        FactKind::DebuggerAttached => "This machine has no debuggers.",
        FactKind::ClockSkew => "This machine has no clock.",
    }
}

const ASK: &str = "Ask your administrator whether this machine may be used all the same.";
const REPORT: &str = "If it stays so, send your administrator what `openztna posture` prints.";

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [FactState; 4] =
        [FactState::Pass, FactState::Fail, FactState::Unknown, FactState::Unsupported];

    #[test]
    fn what_does_not_pass_has_a_fix_and_what_passes_has_none() {
        for kind in FactKind::ALL {
            for state in STATES {
                assert_eq!(fix(kind, state).is_none(), state == FactState::Pass, "{kind} {state}");
            }
        }
    }

    #[test]
    fn words_are_sentences_that_blame_nobody() {
        for kind in FactKind::ALL {
            assert!(purpose(kind).ends_with('.') && !title(kind).ends_with('.'));
            for Advice { sentence, steps } in STATES.into_iter().filter_map(|state| fix(kind, state)) {
                assert!(sentence.ends_with('.') && sentence.len() <= 80, "{sentence}");
                assert!((1..=4).contains(&steps.len()), "{sentence}");
                for step in steps {
                    assert!(step.ends_with(['.', '`']) && step.len() <= 110, "{step}");
                }
                for word in ["failed", "you must", "your fault", "posture check", "illegal", "successfully"] {
                    assert!(!sentence.contains(word), "{sentence}");
                }
            }
        }
    }

    #[test]
    fn no_two_facts_share_their_words() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in FactKind::ALL {
            let sentences =
                STATES.into_iter().filter_map(|state| fix(kind, state)).map(|advice| advice.sentence);
            for text in sentences.chain([title(kind), purpose(kind)]) {
                assert!(seen.insert(text), "{text}");
            }
        }
    }
}
