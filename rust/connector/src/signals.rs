//! What this machine tells of itself: raw readings, each with where it was read, or why it could not be.
//!
//! ```text
//!   Linux ──┐
//!           ├──▶ Simulated, where configured ──▶ Vec<Reading> ──▶ session ──▶ broker, who grades them
//!   shells ─┘
//! ```
//!
//! Everything comes from files that any user may read. No command is run and nothing needs root, so a look
//! costs a millisecond. What only root could see is unknown, and says so.

use ztna_model::{Reading, WallTime};

mod linux; // every kind of fact, and who reads it
pub use linux::Linux;

mod simulated; // readings that a person makes up, over the real ones
pub use simulated::Simulated;

mod system; // which system runs, and on which kernel
mod updates; // when it was last updated
mod disk; // whether the disk is encrypted
mod boot; // how the machine starts, and its security chip
mod firewall; // what comes in
mod screen; // whether the screen locks
mod login; // who is logged in unasked
mod process; // this process, and the clock

mod seen; // what a reader found, and where
mod root; // the files below `/`, or below a test's folder
mod settings; // files of `key=value`
mod gvdb; // dconf's databases

#[cfg(test)]
mod tree; // small machines made of files
#[cfg(test)]
mod machines; // whole ones, each as its system leaves them

/// What a platform reads of itself: Linux does it here, phones do it in their shells.
pub trait Signals: Send {
    /// Looks at the device anew: one reading for each kind that this platform knows of, none twice. Files on
    /// a network can be slow, so this is called where waiting is allowed.
    fn read(&mut self, clocks: Clocks) -> Vec<Reading>;
}

/// The time of a look, by both clocks that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// This device's wall clock.
    pub device: WallTime,
    /// The broker's at the same moment, once it was heard: the last time it told, and the boot clock since.
    pub broker: Option<WallTime>,
}
