use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Three machines in a row, each a network namespace of its own: device, gateway, server.
///
/// ```text
///   device 10.77.0.2, fd77::2 ── 10.77.0.1, fd77::1 gateway 10.78.0.1, fd78::1 ── 10.78.0.2, fd78::2 server
/// ```
///
/// The server knows no way to anything but the gateway: whoever speaks to it speaks under the gateway's address.
pub(super) struct Nets {
    pub(super) device: Net,
    pub(super) gateway: Net,
    pub(super) server: Net,
}

/// One of them.
pub(super) struct Net(String);

impl Nets {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let stem = format!("zgw{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let [device, gateway, server] = ["d", "g", "s"].map(|end| Net::new(format!("{stem}{end}")));
        for (net, side, prefix) in [(&device, "near", 77), (&server, "far", 78)] {
            ip(&format!("-n {} link add {side} type veth peer name uplink netns {}", gateway.0, net.0));
            for (net, link, number) in [(&gateway, side, 1), (net, "uplink", 2)] {
                ip(&format!("-n {} address add 10.{prefix}.0.{number}/24 dev {link}", net.0));
                ip(&format!("-n {} address add fd{prefix}::{number}/64 dev {link} nodad", net.0));
                ip(&format!("-n {} link set {link} up", net.0));
            }
        }
        Self { device, gateway, server }
    }
}

impl Net {
    fn new(name: String) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root: this test makes network namespaces");
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        Self(name)
    }

    /// One that another process has made.
    pub(super) fn existing(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Does something as a process of this machine would. Threads that it begins belong there, sockets that it opens too.
    pub(super) fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let work = || {
            let place = std::fs::File::open(format!("/run/netns/{}", self.0)).unwrap();
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        };
        thread::scope(|scope| match scope.spawn(work).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// One of the kernel's settings.
    pub(super) fn setting(&self, name: &str) -> String {
        self.within(|| std::fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap().trim().to_owned())
    }

    pub(super) fn set(&self, name: &str, value: &str) {
        self.within(|| std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
    }

    /// An application there that says back what it hears, by TCP; says which addresses it is spoken to from.
    pub(super) fn tcp_echo(&self, at: &str) -> (SocketAddr, std::sync::mpsc::Receiver<SocketAddr>) {
        let listener = self.within(|| TcpListener::bind(at).unwrap());
        let (tell, callers) = std::sync::mpsc::channel();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = tell.send(from);
                thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ = io::copy(&mut stream, &mut back);
                    let _ = back.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        (address, callers)
    }

    /// The same by UDP.
    pub(super) fn udp_echo(&self, at: &str) -> SocketAddr {
        let socket = self.within(|| UdpSocket::bind(at).unwrap());
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut room = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                let _ = socket.send_to(&room[..length], from);
            }
        });
        address
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("`ip` is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
