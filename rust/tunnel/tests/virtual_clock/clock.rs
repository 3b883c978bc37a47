//! Answers `clock_gettime` for the calling thread with a time of the test's choice.
//!
//! Some crates read the clock themselves. In a test executable that contains this file, every such read (of `std`,
//! `nix`, `libc`; whichever clock) comes here, because the executable's own definition of a C symbol wins over the C
//! library's. A thread that was given a time sees that time stand still until it is moved; every other thread sees the
//! kernel's. So tests run in parallel, each in virtual time of its own:
//!
//! ```ignore
//! let clock = VirtualClock::start();
//! clock.set(Time::ZERO + secs(120));
//! assert_eq!(clock.reads(), 0);
//! ```
//!
//! Linux with glibc, 64 bits. Sleeping and waiting with a timeout are not touched.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::marker::PhantomData;
use std::time::Duration;

use ztna_model::Time;

/// Virtual time for the thread that made it, until it is dropped.
pub(crate) struct VirtualClock {
    /// The time belongs to the thread, so the handle stays there.
    stays_here: PhantomData<*const ()>,
}

impl VirtualClock {
    /// Stops this thread's clocks at [`Time::ZERO`].
    pub(crate) fn start() -> Self {
        assert!(NOW.replace(Some(Time::ZERO)).is_none(), "this thread has a virtual clock already");
        READS.set(0);
        Self { stays_here: PhantomData }
    }

    /// Moves the boot clock, and every other clock with it, to `now`.
    pub(crate) fn set(&self, now: Time) {
        assert!(NOW.get().is_some_and(|before| before <= now), "a clock never runs backwards");
        NOW.set(Some(now));
    }

    /// How often this thread has read a clock since the start.
    pub(crate) fn reads(&self) -> u64 {
        READS.get()
    }
}

impl Drop for VirtualClock {
    fn drop(&mut self) {
        NOW.set(None);
    }
}

/// C's `struct timespec`.
#[repr(C)]
struct Timespec {
    secs: i64,
    nanos: c_long,
}

/// Replaces the C library's function of this name for the whole executable.
///
/// # Safety
/// As in C: `to` points to a `struct timespec` that may be written.
#[expect(unsafe_code, reason = "a C symbol is defined, and a C pointer written through")]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, to: *mut Timespec) -> c_int {
    // A thread that is ending has lost its variables, and its virtual time.
    let Some(now) = NOW.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the caller's promise about `to` is the one that the system call asks for.
        return unsafe { real_clock_gettime(clock, to) };
    };
    let _ = READS.try_with(|reads| reads.set(reads.get() + 1));
    let at = Duration::from_nanos(now.as_nanos()) + epoch(clock);
    let answer = Timespec { secs: at.as_secs() as i64, nanos: c_long::from(at.subsec_nanos() as i32) };
    // SAFETY: the caller promises that `to` may be written.
    unsafe { to.write(answer) };
    0
}

/// What a clock shows at [`Time::ZERO`]: each something else, so that mixing them up shows.
fn epoch(clock: c_int) -> Duration {
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE => Duration::from_secs(1_790_000_000),
        CLOCK_BOOTTIME => Duration::from_secs(5_000),
        _ => Duration::from_secs(3_000),
    }
}

/// # Safety
/// `to` points to a `struct timespec` that may be written.
#[expect(unsafe_code, reason = "the system call itself, since its wrapper is what was replaced")]
unsafe fn real_clock_gettime(clock: c_int, to: *mut Timespec) -> c_int {
    // SAFETY: `syscall` is the C library's, declared as it is there.
    unsafe extern "C" {
        fn syscall(number: c_long, ...) -> c_long;
    }
    // SAFETY: the number is that of `clock_gettime`, which takes these two arguments and writes only to `to`.
    unsafe { syscall(SYS_CLOCK_GETTIME, clock, to) as c_int }
}

thread_local! {
    static NOW: Cell<Option<Time>> = const { Cell::new(None) };
    static READS: Cell<u64> = const { Cell::new(0) };
}

const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const CLOCK_BOOTTIME: c_int = 7;

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;
