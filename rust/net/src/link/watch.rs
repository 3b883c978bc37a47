use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};
use ztna_model::millis;

use super::message::Held;
use super::socket::open;
use super::{DeviceIndex, LinkError, Links};

/// What is different from before. At least one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkChange {
    /// A device was turned on or off, or its cable was.
    pub links: bool,
    /// An address came or went.
    pub addresses: bool,
    /// Another way into the world.
    pub defaults: bool,
}

/// Watches links, addresses and default routes.
///
/// Messages of the kernel ring a bell and nothing else: what has changed is found by looking, so that none may be lost,
/// and a router that repeats itself every minute wakes nobody.
#[derive(Debug)]
pub struct LinkWatch {
    bell: AsyncFd<OwnedFd>,
    links: Links,
    except: Option<String>,
    last: Seen,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Seen {
    links: BTreeSet<DeviceIndex>,
    addresses: BTreeSet<(DeviceIndex, IpAddr)>,
    defaults: BTreeSet<Held>,
}

impl LinkWatch {
    /// Watches from here on; what happens to the device called `except` is no news.
    pub fn open(except: Option<&str>) -> Result<Self, LinkError> {
        // Heard before it is looked, so that nothing falls in between.
        let bell = open(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, GROUPS)
            .map_err(|errno| LinkError::Refused(errno.into()))?;
        let bell = registered(bell).map_err(LinkError::Refused)?;
        let mut links = Links::open()?;
        let except = except.map(str::to_owned);
        let last = look(&mut links, except.as_deref())?;
        Ok(Self { bell, links, except, last })
    }

    /// Waits for a change. Several that come together are one. May be dropped and called again; nothing is lost.
    pub async fn next(&mut self) -> Result<LinkChange, LinkError> {
        loop {
            self.rung().await.map_err(LinkError::Refused)?;
            self.settled().await.map_err(LinkError::Refused)?;
            let seen = look(&mut self.links, self.except.as_deref())?;
            let change = LinkChange::between(&self.last, &seen);
            self.last = seen;
            if let Some(change) = change {
                return Ok(change);
            }
        }
    }

    /// Waits for the bell, and silences it.
    async fn rung(&self) -> io::Result<()> {
        loop {
            let mut ready = self.bell.readable().await?;
            // Whatever it says. A bell that rang too often to be counted (ENOBUFS) rang.
            match rustix::net::recv(self.bell.get_ref(), &mut [0; 16], RecvFlags::TRUNC) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::NOBUFS) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until the bell is silent for a moment, but not for ever.
    async fn settled(&self) -> io::Result<()> {
        let storm = async {
            while let Ok(rung) = timeout(MOMENT, self.rung()).await {
                rung?;
            }
            Ok(())
        };
        tokio::select! {
            outcome = storm => outcome,
            () = sleep(LONGEST) => Ok(()),
        }
    }
}

impl LinkChange {
    fn between(before: &Seen, after: &Seen) -> Option<Self> {
        let change = Self {
            links: before.links != after.links,
            addresses: before.addresses != after.addresses,
            defaults: before.defaults != after.defaults,
        };
        (change != Self::default()).then_some(change)
    }
}

#[expect(
    deprecated,
    reason = "unsound for what may change its descriptor; an `OwnedFd` never does, and its successor is `unsafe`"
)]
fn registered(bell: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(bell, Interest::READABLE)
}

fn look(links: &mut Links, except: Option<&str>) -> Result<Seen, LinkError> {
    let except = match except {
        Some(name) => links.device(name)?,
        None => None,
    };
    let is_news = |device: &DeviceIndex| Some(*device) != except;
    Ok(Seen {
        links: links.working()?.into_iter().filter(is_news).collect(),
        addresses: links.addresses()?.into_iter().filter(|(device, _)| is_news(device)).collect(),
        defaults: links
            .defaults()?
            .into_iter()
            .filter(|route| route.device != except || except.is_none())
            .collect(),
    })
}

/// Links, addresses and routes of both families (RTMGRP_…, linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const MOMENT: Duration = millis(50);
const LONGEST: Duration = millis(300);
