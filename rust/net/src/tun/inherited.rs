use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::fs::{FileType, fstat};

/// Takes over the descriptor numbered `number`, which whoever started this process has left open for it.
///
/// To be called once for a number, and by a program whose own part it is: not with a number that this process has from
/// elsewhere.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number <= STANDARD_ERROR {
        let what = "descriptors 0, 1 and 2 are standard input and output";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let descriptor = take(number)?;
    let kind = FileType::from_raw_mode(fstat(&descriptor)?.st_mode);
    if kind != FileType::CharacterDevice && kind != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is no network device"));
    }
    Ok(descriptor)
}

#[expect(unsafe_code, reason = "a number from the command line is all that tells of an inherited descriptor")]
fn take(number: i32) -> io::Result<OwnedFd> {
    // That it is open is all that can be found out.
    let path = format!("/proc/self/fd/{number}");
    std::fs::symlink_metadata(path)?;
    // SAFETY: it is open, and by its contract this function is called once for it: nobody else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

const STANDARD_ERROR: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_open_device_is_taken() {
        for (number, expected) in [(0, "standard input"), (-1, "standard input"), (9_999, "No such file")] {
            let error = inherited(number).unwrap_err().to_string();
            assert!(error.contains(expected), "{number}: {error}");
        }
    }
}
