//! A gateway that does as it is told: real tunnels, a real flow table, real sockets to real servers.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use ztna_datapath::policy::{Effect, Limits, Rule, Scope, Table, Via};
use ztna_datapath::tunnel::{PeerId, Role, Tunnel, wg_public};
use ztna_datapath::{Datagrams, Datapath, Opened, Sealed, Side};
use ztna_model::{
    Carrier, DenyReason, Endpoint, Flow, GatewayId, Grant, LeaseId, Match, Protocol, Secret, Synthetic, Time,
    WgPublic,
};
use ztna_net::clock::Clock;
use ztna_net::inbox::{Inbox, Post};
use ztna_net::poll::Poller;
use ztna_net::random::SystemRandom;
use ztna_net::socket::{Connection, Read};
use ztna_net::udp::{Batch, Bind, UdpPort};
use ztna_netstack::{self as netstack, Event, Netstack, Output, StreamId};

/// A gateway on a thread of its own.
pub(crate) struct Gateway {
    pub(crate) id: GatewayId,
    pub(crate) key: WgPublic,
    pub(crate) address: SocketAddr,
    post: Option<Post<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What a flow's destination leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leads {
    /// This server.
    To(SocketAddr),
    /// A refusal.
    Nowhere,
    /// Nobody ever answers.
    Astray,
}

/// How a gateway stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// Flows of its own.
    pub(crate) streams: usize,
    /// Flows in its table.
    pub(crate) flows: u32,
    /// Datagrams that came.
    pub(crate) datagrams: u64,
    /// Flows that came in so far.
    pub(crate) came: u64,
    /// Flows that were reset by the device.
    pub(crate) reset: u64,
}

enum Order {
    Device(WgPublic),
    Lease(Box<Rule>, WgPublic),
    Route(Endpoint, Leads),
    End(LeaseId, Option<DenyReason>),
    Say(WgPublic, Vec<u8>),
    Deaf(bool),
    Standing(oneshot::Sender<Standing>),
}

impl Gateway {
    /// Starts one that knows nobody.
    pub(crate) fn start(name: &str, secret: [u8; 32]) -> Self {
        let secret = Secret::new(secret);
        let key = wg_public(&secret);
        let mut port = UdpPort::bind(Bind::LoopbackV4).unwrap();
        let address = port.local_address();
        let (mut poller, post, inbox) = Poller::new(Clock, 4096).unwrap();
        poller.add(&mut port).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::spawn(move || {
            let _context = runtime.enter();
            Desk::new(&secret, port, poller, inbox).run();
        });
        Self { id: name.parse().unwrap(), key, address, post: Some(post), thread: Some(thread) }
    }

    pub(crate) async fn know(&self, device: WgPublic) {
        self.tell(Order::Device(device)).await;
    }

    /// Grants `device` the way to the name numbered `number`, on ports `ports`, and returns what the device is told.
    pub(crate) async fn grant(&self, device: WgPublic, number: u16, ports: &str, lease: u8) -> Grant {
        let synthetic = Synthetic::from_index(number);
        let grant = Grant {
            lease: LeaseId([lease; 16]),
            resource: format!("app-{number}").parse().unwrap(),
            gateway: self.id.clone(),
            gateway_key: self.key,
            statement: String::new(),
            carriers: vec![Carrier::Udp(self.address)],
            protocol: Protocol::Tcp,
            ports: ports.parse().unwrap(),
            covers: Match::Name { name: format!("app-{number}.demo").parse().unwrap(), synthetic },
        };
        let terms = ztna_model::Rule {
            resource: grant.resource.clone(),
            protocol: grant.protocol,
            ports: grant.ports.clone(),
            covers: grant.covers.clone(),
        };
        let rule = Rule {
            lease: grant.lease,
            scope: Scope(0),
            via: Via::SITE,
            terms,
            deadline: Time::MAX,
            flows: 8192,
            effect: Effect::Allow,
        };
        self.tell(Order::Lease(Box::new(rule), device)).await;
        grant
    }

    pub(crate) async fn route(&self, to: Endpoint, leads: Leads) {
        self.tell(Order::Route(to, leads)).await;
    }

    /// Ends a lease, with a notice or silently.
    pub(crate) async fn end(&self, lease: LeaseId, notice: Option<DenyReason>) {
        self.tell(Order::End(lease, notice)).await;
    }

    /// Sends a datagram to the device's notices address.
    pub(crate) async fn say(&self, device: WgPublic, payload: &[u8]) {
        self.tell(Order::Say(device, payload.into())).await;
    }

    /// Hears nothing from here on, or hears again.
    pub(crate) async fn deaf(&self, deaf: bool) {
        self.tell(Order::Deaf(deaf)).await;
    }

    pub(crate) async fn standing(&self) -> Standing {
        let (answer, wait) = oneshot::channel();
        self.tell(Order::Standing(answer)).await;
        wait.await.unwrap()
    }

    /// Waits until it stands as it should.
    pub(crate) async fn until(&self, what: impl Fn(Standing) -> bool) -> Standing {
        loop {
            let standing = self.standing().await;
            if what(standing) {
                return standing;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn tell(&self, order: Order) {
        self.post.as_ref().unwrap().send(order).await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.post = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

struct Desk {
    port: UdpPort,
    poller: Poller,
    inbox: Inbox<Order>,
    batch: Batch,
    room: Vec<u8>,
    datapath: Datapath,
    netstack: Netstack,
    random: SystemRandom,
    routes: BTreeMap<Endpoint, Leads>,
    flows: BTreeMap<usize, Link>,
    deaf: bool,
    now: Time,
    standing: Standing,
}

struct Link {
    id: StreamId,
    connection: Connection,
    read_all: bool,
    finished: bool,
}

struct Sink<'a>(&'a mut UdpPort);

impl Datagrams for Sink<'_> {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        let Carrier::Udp(to) = to;
        self.0.room(to, length)
    }
    fn commit(&mut self, length: usize) {
        self.0.commit(length);
    }
}

impl Desk {
    fn new(secret: &Secret<[u8; 32]>, port: UdpPort, poller: Poller, inbox: Inbox<Order>) -> Self {
        let mut random = SystemRandom::new();
        let now = Clock.now();
        let datapath = Datapath::new(
            Side::Gateway,
            Tunnel::new(secret, Tunnel::DEFAULT_MTU, now),
            Table::new([7; 16], Limits::GATEWAY),
        );
        Self {
            port,
            poller,
            inbox,
            batch: Batch::new(),
            room: vec![0; 1 << 16],
            datapath,
            netstack: Netstack::new(netstack::Limits::GATEWAY, &mut random),
            random,
            routes: BTreeMap::new(),
            flows: BTreeMap::new(),
            deaf: false,
            now,
            standing: Standing::default(),
        }
    }

    fn run(mut self) {
        while !self.inbox.is_abandoned() {
            let netstack = if self.port.is_blocked() { None } else { self.netstack.next_wake() };
            let deadline = [netstack, self.datapath.next_wake()].into_iter().flatten().min();
            self.now = self.poller.wait(&mut self.port, &self.inbox, deadline).unwrap();
            let _ = self.datapath.begin_batch(self.now);
            let orders: Vec<Order> = self.inbox.drain(256).collect();
            orders.into_iter().for_each(|order| self.obey(order));
            self.receive();
            let ready: Vec<_> = self.poller.ready().collect();
            for (key, readiness) in ready {
                if let Some(link) = self.flows.get_mut(&key) {
                    link.connection.is_ready(readiness);
                    self.advance(key);
                }
            }
            self.send();
            self.datapath.finish(&mut Sink(&mut self.port));
            let _ = self.port.flush();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Device(key) => {
                self.datapath
                    .tunnel
                    .add_peer(key, None, Role::Responder, &mut self.random, self.now)
                    .unwrap();
            }
            Order::Lease(mut rule, device) => {
                rule.scope = Scope(self.peer(device).number());
                self.datapath.table.insert(*rule).unwrap();
            }
            Order::Route(to, leads) => {
                self.routes.insert(to, leads);
            }
            Order::End(lease, notice) => self.end(lease, notice),
            Order::Say(device, payload) => {
                let peer = self.peer(device);
                self.datapath.notify(peer, &payload, &mut Sink(&mut self.port));
            }
            Order::Deaf(deaf) => self.deaf = deaf,
            Order::Standing(answer) => {
                let (streams, flows) = (self.netstack.flows(), self.datapath.table.flows());
                let _ = answer.send(Standing { streams, flows, ..self.standing });
            }
        }
    }

    fn peer(&self, device: WgPublic) -> PeerId {
        self.datapath.tunnel.peer_with(&device).unwrap()
    }

    fn end(&mut self, lease: LeaseId, notice: Option<DenyReason>) {
        let Some(ended) = self.datapath.table.end(lease, DenyReason::Revoked) else { return };
        let peer = PeerId::from_number(ended.rule.scope.0);
        self.netstack.abort_where(|_, flow| ended.flows.contains(flow));
        if let Some(reason) = notice {
            let text = format!(r#"{{"lease":"{lease}","reason":"{}"}}"#, reason.code());
            self.datapath.notify(peer, text.as_bytes(), &mut Sink(&mut self.port));
        }
    }

    fn receive(&mut self) {
        for _ in 0..4 {
            if !self.port.recv(&mut self.batch).unwrap() {
                break;
            }
            for datagram in self.batch.datagrams() {
                self.standing.datagrams += 1;
                if self.deaf {
                    continue;
                }
                let from = Carrier::Udp(datagram.source);
                let opened =
                    self.datapath.open(datagram.contents, from, &mut self.room, &mut Sink(&mut self.port));
                if let Opened::Packet { peer, packet, .. } = opened {
                    let _ = self.netstack.handle_packet(netstack::Scope(peer.number()), packet, self.now);
                }
            }
        }
    }

    fn send(&mut self) {
        while !self.port.is_blocked() {
            match self.netstack.poll(self.now) {
                None => return,
                Some(Output::Packet { scope, packet }) => {
                    let peer = PeerId::from_number(scope.0);
                    // What the table denies is the reset of a flow that was cut.
                    if let Sealed::Denied(_) = self.datapath.seal_for(peer, packet, &mut Sink(&mut self.port))
                    {
                        self.datapath.seal_own(peer, packet, &mut Sink(&mut self.port));
                    }
                }
                Some(Output::Incoming { stream, scope, flow }) => self.come(stream, scope, flow),
                Some(Output::Event { stream, event }) => self.follow(stream, event),
            }
        }
    }

    fn come(&mut self, id: StreamId, _: netstack::Scope, flow: Flow) {
        self.standing.came += 1;
        match self.routes.get(&flow.destination).copied().unwrap_or(Leads::Nowhere) {
            Leads::Nowhere => self.netstack.refuse(id),
            Leads::Astray => {}
            Leads::To(server) => {
                let Ok(socket) = TcpStream::connect(server) else { return self.netstack.refuse(id) };
                socket.set_nonblocking(true).unwrap();
                socket.set_nodelay(true).unwrap();
                let socket = tokio::net::TcpStream::from_std(socket).unwrap();
                let mut connection = Connection::take_over(socket).unwrap();
                connection.watch(&self.poller, id.index()).unwrap();
                self.netstack.accept(id, self.now).unwrap();
                self.flows.insert(id.index(), Link { id, connection, read_all: false, finished: false });
            }
        }
    }

    fn follow(&mut self, id: StreamId, event: Event) {
        match event {
            Event::Connected | Event::Readable | Event::Writable => self.advance(id.index()),
            Event::PeerClosed => {
                self.advance(id.index());
                if let Some(link) = self.flows.get_mut(&id.index()) {
                    link.read_all = true;
                    link.connection.finish();
                }
            }
            Event::Closed => drop(self.flows.remove(&id.index())),
            Event::Reset(cause) => {
                self.standing.reset += u64::from(cause == netstack::Cause::Peer);
                if let Some(link) = self.flows.remove(&id.index()) {
                    link.connection.reset();
                }
            }
        }
    }

    fn advance(&mut self, key: usize) {
        let Some(link) = self.flows.get_mut(&key) else { return };
        let mut broken = false;
        while link.connection.is_writable() {
            let taken = self.netstack.recv_with(link.id, |bytes| match link.connection.write(bytes) {
                Ok(written) => written,
                Err(_) => {
                    broken = true;
                    0
                }
            });
            if taken == 0 {
                break;
            }
        }
        while link.connection.is_readable() && !link.finished && !broken {
            let mut outcome = Read::Nothing;
            let sent = self.netstack.send_with(link.id, |room| match link.connection.read(room) {
                Ok(read) => {
                    outcome = read;
                    if let Read::Bytes(length) = read { length } else { 0 }
                }
                Err(_) => {
                    broken = true;
                    0
                }
            });
            if outcome == Read::End {
                link.finished = true;
                self.netstack.shutdown_write(link.id);
            }
            if sent == 0 {
                break;
            }
        }
        if broken && let Some(link) = self.flows.remove(&key) {
            self.netstack.abort(link.id);
            link.connection.reset();
        }
    }
}
