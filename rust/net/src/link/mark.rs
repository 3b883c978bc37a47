use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

/// Marks what `socket` sends, so that rules can tell it from other packets (SO_MARK, socket(7)). Needs CAP_NET_ADMIN.
pub fn mark(socket: &impl AsFd, mark: u32) -> io::Result<()> {
    SockRef::from(socket).set_mark(mark)
}
