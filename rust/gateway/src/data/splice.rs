use std::io;

use ztna_model::Time;
use ztna_net::socket::{Connection, Datagrams, Read};
use ztna_netstack::{Netstack, StreamId};

use crate::order::SiteSocket;

use super::flows::Forwarded;

/// What came of moving a flow's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// There is nothing more to move at present: the netstack or the poller will tell.
    All,
    /// There may be more than the budget allowed.
    Some,
    /// The socket is broken.
    Broken,
}

impl Forwarded {
    /// Moves what can be moved both ways, `budget` bytes at most, and takes them off it.
    pub(super) fn splice(&mut self, netstack: &mut Netstack, budget: &mut usize, now: Time) -> Moved {
        let Self { stream, site, site_ended, .. } = self;
        let outcome = match site {
            None => return Moved::All,
            Some(SiteSocket::Tcp(connection)) => to_site(*stream, connection, netstack, budget)
                .and_then(|()| from_site(*stream, connection, site_ended, netstack, budget)),
            Some(SiteSocket::Udp(socket)) => datagrams_to_site(*stream, socket, netstack, budget)
                .and_then(|()| datagrams_from_site(*stream, socket, netstack, budget, now)),
        };
        match outcome {
            Ok(()) if *budget > 0 => Moved::All,
            Ok(()) => Moved::Some,
            Err(_) => Moved::Broken,
        }
    }

    /// The device sends no more, and all that it sent has been written.
    pub(super) fn device_ended(&self) {
        match &self.site {
            Some(SiteSocket::Tcp(connection)) => connection.finish(),
            Some(SiteSocket::Udp(_)) | None => {}
        }
    }
}

fn to_site(
    stream: StreamId,
    connection: &mut Connection,
    netstack: &mut Netstack,
    budget: &mut usize,
) -> io::Result<()> {
    while connection.is_writable() && *budget > 0 {
        let mut outcome = Ok(0);
        let taken = netstack.recv_with(stream, |bytes| {
            outcome = connection.write(bytes);
            outcome.as_ref().copied().unwrap_or(0)
        });
        outcome?;
        if taken == 0 {
            break;
        }
        *budget = budget.saturating_sub(taken);
    }
    Ok(())
}

fn from_site(
    stream: StreamId,
    connection: &mut Connection,
    ended: &mut bool,
    netstack: &mut Netstack,
    budget: &mut usize,
) -> io::Result<()> {
    while connection.is_readable() && !*ended && *budget > 0 {
        let mut outcome = Ok(Read::Nothing);
        let given = netstack.send_with(stream, |room| {
            outcome = connection.read(room);
            match outcome {
                Ok(Read::Bytes(length)) => length,
                Ok(Read::Nothing | Read::End) | Err(_) => 0,
            }
        });
        if outcome? == Read::End {
            *ended = true;
            netstack.shutdown_write(stream);
        }
        if given == 0 {
            break;
        }
        *budget = budget.saturating_sub(given);
    }
    Ok(())
}

fn datagrams_to_site(
    stream: StreamId,
    socket: &Datagrams,
    netstack: &mut Netstack,
    budget: &mut usize,
) -> io::Result<()> {
    while *budget > 0
        && let Some(datagram) = netstack.recv_datagram(stream)
    {
        *budget = budget.saturating_sub(datagram.len().max(LEAST));
        socket.send(datagram)?;
    }
    Ok(())
}

fn datagrams_from_site(
    stream: StreamId,
    socket: &mut Datagrams,
    netstack: &mut Netstack,
    budget: &mut usize,
    now: Time,
) -> io::Result<()> {
    let mut room = [0; LONGEST_DATAGRAM];
    while socket.is_readable() && *budget > 0 {
        let Some(length) = socket.receive(&mut room)? else { break };
        *budget = budget.saturating_sub(length.max(LEAST));
        // One that is too long for the tunnel, or finds no room, is lost as on any other path.
        let _ = netstack.send_datagram(stream, room.get(..length).unwrap_or_default(), now);
    }
    Ok(())
}

/// What the shortest datagram costs.
const LEAST: usize = 256;
/// Longer than any that fits in a packet of the tunnel: one that was cut off must not look like one that was not.
const LONGEST_DATAGRAM: usize = 2_048;
