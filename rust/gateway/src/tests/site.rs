use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use ztna_api::gateway::Beat;
use ztna_gate::Reach;
use ztna_model::{
    DecisionId, DeviceId, Epoch, Limits, Match, Port, Ports, Protocol, Pseudonym, Synthetic, Target,
};
use ztna_net::udp::Bind;

use super::broker::{Broker, Link};
use super::device::Device;
use super::*;
use crate::config::{Config, UdpConfig};
use crate::resolver::Resolver;
use crate::run::{ExitReason, RunError, run_with};
use crate::status::Plane;

/// A gateway at work under a scripted broker.
pub(super) struct Site {
    pub(super) runtime: Runtime,
    pub(super) broker: Broker,
    pub(super) link: Option<Link>,
    pub(super) home: TempDir,
    pub(super) config: Config,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<ExitReason, RunError>>,
}

/// What a lease is for.
#[derive(Clone)]
pub(super) struct For {
    pub(super) protocol: Protocol,
    /// Number of the stand-in by which the device knows it.
    pub(super) index: u16,
    pub(super) target: String,
    pub(super) ttl: u64,
}

impl For {
    pub(super) fn tcp(index: u16, target: impl ToString) -> Self {
        Self { protocol: Protocol::Tcp, index, target: target.to_string(), ttl: 60_000 }
    }

    pub(super) fn echo(index: u16, target: impl ToString) -> Self {
        Self { protocol: Protocol::IcmpEcho, ..Self::tcp(index, target) }
    }

    pub(super) fn udp(index: u16, target: impl ToString) -> Self {
        Self { protocol: Protocol::Udp, ..Self::tcp(index, target) }
    }
}

impl Site {
    /// Enrols a gateway that may go to `reach`, and runs it.
    pub(super) fn new(reach: &[&str]) -> Self {
        Self::with_resolver(reach, Resolver::System)
    }

    pub(super) fn with_resolver(reach: &[&str], resolver: Resolver) -> Self {
        let mut site = Self::enrolled(reach);
        site.start(resolver);
        site
    }

    /// Enrols a gateway and does not run it.
    pub(super) fn enrolled(reach: &[&str]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = runtime.block_on(Broker::start());
        let home = TempDir::new();
        runtime.block_on(crate::enrol(&broker.token(), home.root())).unwrap();
        let config = Config {
            state_dir: home.root().into(),
            reach: Reach::new(reach.iter().map(|entry| entry.parse().unwrap()).collect()),
            udp: UdpConfig { bind: Bind::LoopbackV4, ..UdpConfig::default() },
            ..Config::default()
        };
        Self { runtime, broker, link: None, home, config, running: None }
    }

    /// Runs the gateway, and welcomes it.
    pub(super) fn start(&mut self, resolver: Resolver) {
        self.start_alone(resolver);
        self.link = Some(self.runtime.block_on(self.broker.stream()));
    }

    /// Runs the gateway.
    pub(super) fn start_alone(&mut self, resolver: Resolver) {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let ended = self.runtime.spawn(run_with(self.config.clone(), resolver, shutdown));
        self.running = Some(Running { stop, ended });
    }

    /// Asks the gateway to end.
    pub(super) fn stop(&mut self) {
        let Running { stop, ended } = self.running.take().unwrap();
        stop.send(()).unwrap();
        assert_eq!(self.runtime.block_on(within(ended)).unwrap().unwrap(), ExitReason::Asked);
    }

    pub(super) fn link(&mut self) -> &mut Link {
        self.link.as_mut().unwrap()
    }

    /// A device that knows the gateway.
    pub(super) fn device(&mut self) -> Device {
        self.introduce(Device::new())
    }

    /// Lets a device know the gateway.
    pub(super) fn introduce(&mut self, mut device: Device) -> Device {
        let hello = &self.link().hello;
        device.meet(hello.wg_pub, &hello.carriers.clone());
        device
    }

    /// A lease as the broker would write it, on the gateway's latest beat.
    pub(super) fn lease(&mut self, device: &Device, what: &For) -> Lease {
        let beat = *self.link().beat.lock().unwrap();
        self.lease_on(beat, device, what)
    }

    pub(super) fn lease_on(&self, beat: Beat, device: &Device, what: &For) -> Lease {
        let (org, incarnation) = (self.broker.org.clone(), self.broker.script.incarnation);
        let target: Target = what.target.parse().unwrap();
        let random = &mut SystemRandom::new();
        Lease {
            holder: device.holder(&org),
            org,
            incarnation,
            id: LeaseId::random(random),
            sid: device.sid,
            epoch: Epoch(1),
            jkt: device.jkt(),
            person: Pseudonym([1; 16]),
            device: DeviceId([2; 16]),
            decision: DecisionId::random(random),
            gw: GATEWAY.parse().unwrap(),
            run: beat.run,
            at: beat.now,
            ttl: what.ttl,
            rule: ztna_model::Rule {
                resource: format!("resource-{}", what.index).parse().unwrap(),
                protocol: what.protocol,
                ports: match what.protocol {
                    Protocol::Tcp | Protocol::Udp => Ports::one(Port::new(80).unwrap()),
                    Protocol::IcmpEcho => Ports::all(),
                },
                covers: Match::Name {
                    name: format!("name-{}.test", what.index).parse().unwrap(),
                    synthetic: Synthetic::from_index(what.index),
                },
            },
            target,
            limits: Limits::default(),
        }
    }

    /// Gives `device` a lease, and waits until the gateway holds it.
    pub(super) fn grant(&mut self, device: &Device, what: &For) -> Lease {
        let lease = self.lease(device, what);
        assert_eq!(self.offer(&lease), Ok(()));
        lease
    }

    pub(super) fn offer(&mut self, lease: &Lease) -> Result<(), LeaseError> {
        let script = Arc::clone(&self.broker.script);
        let link = self.link.as_mut().unwrap();
        self.runtime.block_on(link.offer(&script, lease))
    }

    /// The next frame of the gateway's that `is_meant` makes something of.
    pub(super) fn block_on_frame<T>(&mut self, is_meant: impl FnMut(FromGateway) -> Option<T>) -> T {
        self.runtime.block_on(self.link.as_mut().unwrap().wait_for(is_meant))
    }

    /// How the gateway stands once it stands as expected.
    pub(super) fn status_when(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        let give_up = Clock.now() + PATIENCE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(Clock.now() < give_up, "{status:?}");
        }
    }

    pub(super) fn plane_when(&self, is_so: impl Fn(&Plane) -> bool) -> Plane {
        self.status_when(|status| is_so(&status.plane)).plane
    }

    pub(super) fn status(&self) -> Status {
        self.runtime.block_on(within(crate::status::status(self.home.root()))).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.broker.stop();
        if self.running.is_some() && !thread::panicking() {
            self.stop();
        }
    }
}

/// An application that hands each connection to `serve`.
pub(super) fn application(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    application_at(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

pub(super) fn application_at(
    listener: TcpListener,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// An application that says back what it hears, and ends when the other side does.
pub(super) fn echo() -> SocketAddr {
    application(|mut stream| {
        let mut chunk = [0; 1 << 16];
        while let Ok(length) = stream.read(&mut chunk) {
            if length == 0 || stream.write_all(&chunk[..length]).is_err() {
                return;
            }
        }
    })
}

/// The same by UDP.
pub(super) fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut room = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            socket.send_to(&room[..length], from).unwrap();
        }
    });
    address
}

/// Where nothing listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
