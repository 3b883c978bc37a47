use std::net::IpAddr;

use ztna_model::{Host, Port};

use crate::destination::{Destination, Form, authority};
use crate::head::{Field, Head};
use crate::password::Password;
use crate::refusal::{Misuse, Refusal};
use crate::upstream::Upstream;

/// What an HTTP request asks of the proxy.
pub(crate) enum Request {
    /// A tunnel.
    Tunnel(Destination),
    /// To carry the request itself.
    Forward { destination: Destination, first: Vec<u8>, upstream: Upstream },
}

/// Where a request is addressed to (RFC 9112, 3.2), before its host is read.
enum Target<'a> {
    Authority(&'a str),
    Url { authority: &'a str, path: &'a str },
}

impl Request {
    /// What `head` asks, if it may.
    ///
    /// Nothing is ever served from this port. A web page that finds it, by its number or by rebinding a name of
    /// its own to 127.0.0.1, can only send requests addressed to a server (`GET /`), in which it chooses path, body
    /// and some fields. All of those end as *misdirected*, before any password is looked at, without content and
    /// without a cross-origin permission. CONNECT, absolute URLs and `Proxy-Authorization` are out of a script's
    /// hands: only a program that was given the proxy and its password sends them. So a browser that uses the proxy
    /// is served, whatever `Origin` and `Sec-Fetch-*` it sends: with its pages they are part of ordinary requests.
    pub(crate) fn read(head: &Head<'_>, password: &Password) -> Result<Self, Refusal> {
        let target = target(head)?;
        let upstream = head.body()?;
        if !head.knows(password) {
            return Err(Misuse::Unauthenticated.into());
        }
        match target {
            Target::Authority(text) => tunnel(text, &upstream),
            Target::Url { authority, path } => forward(head, authority, path, upstream),
        }
    }
}

fn tunnel(text: &str, upstream: &Upstream) -> Result<Request, Refusal> {
    if !upstream.is_over() {
        return Err(Misuse::BodyUnclear.into());
    }
    let (host, port) = authority(text, None)?;
    Ok(Request::Tunnel(Destination { host, port, form: Form::Connect }))
}

fn forward(head: &Head<'_>, text: &str, path: &str, upstream: Upstream) -> Result<Request, Refusal> {
    // Counting hops (RFC 9110, 7.6.2) would mean answering in the application's place.
    if matches!(head.method, "OPTIONS" | "TRACE") && head.values("max-forwards").next().is_some() {
        return Err(Misuse::Unsupported.into());
    }
    let (host, port) = authority(text, Port::new(80))?;
    let destination = Destination { host, port, form: Form::Absolute };
    let first = rewritten(head, &destination, path);
    Ok(Request::Forward { destination, first, upstream })
}

fn target<'a>(head: &Head<'a>) -> Result<Target<'a>, Misuse> {
    if head.method == "CONNECT" {
        return Ok(Target::Authority(head.target));
    }
    if head.target.starts_with('/') || head.target == "*" {
        return Err(Misuse::Misdirected);
    }
    let (scheme, rest) = head.target.split_once("://").ok_or(Misuse::Malformed)?;
    let is = |name: &&str| scheme.eq_ignore_ascii_case(name);
    if ["https", "ws", "wss"].iter().any(is) {
        return Err(Misuse::NeedsConnect);
    }
    if !is(&"http") || rest.contains('#') {
        return Err(Misuse::Malformed);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(Misuse::Malformed)?;
    Ok(Target::Url { authority, path })
}

/// The head as the application gets it: addressed by path, to the host that was asked about, for this one request.
///
/// An upgrade is not carried (RFC 9110, 7.8): after it nobody could tell where the request ends. WebSocket clients
/// use CONNECT (RFC 6455, 4.1), and what asks for h2c goes on without.
fn rewritten(head: &Head<'_>, destination: &Destination, path: &str) -> Vec<u8> {
    let slash = match path {
        "" if head.method == "OPTIONS" => "*",
        "" => "/",
        _ if path.starts_with('?') => "/",
        _ => "",
    };
    let mut bytes = format!("{} {slash}{path} HTTP/1.{}\r\n", head.method, head.minor).into_bytes();
    add(&mut bytes, ("Host", host_field(destination).as_bytes()));
    for field in head.fields.iter().filter(|field| is_carried(head, field.0)) {
        add(&mut bytes, *field);
    }
    add(&mut bytes, ("Via", format!("1.{} openztna", head.minor).as_bytes()));
    add(&mut bytes, ("Connection", b"close"));
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn add(bytes: &mut Vec<u8>, (name, value): Field<'_>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// The host as it was asked about, not as it was spelled: the application is told exactly what was granted.
fn host_field(destination: &Destination) -> String {
    let Destination { host, port, .. } = destination;
    match host {
        Host::Name(_) | Host::Address(IpAddr::V4(_)) if port.number() == 80 => host.to_string(),
        Host::Address(IpAddr::V6(address)) if port.number() == 80 => format!("[{address}]"),
        Host::Name(_) | Host::Address(_) => destination.to_string(),
    }
}

/// Whether the field goes on to the application (RFC 9110, 7.6.1). What frames the body goes on even where
/// `Connection` lists it: taking it away would make two requests of one.
fn is_carried(head: &Head<'_>, name: &str) -> bool {
    let is = |other: &&str| name.eq_ignore_ascii_case(other);
    let for_the_proxy = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
    let listed = || head.options().any(|option| option.eq_ignore_ascii_case(name.as_bytes()));
    FRAMING.iter().any(is) || !(for_the_proxy || HOP_BY_HOP.iter().any(is) || listed())
}

const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];
const HOP_BY_HOP: [&str; 6] = ["host", "connection", "keep-alive", "te", "upgrade", "http2-settings"];
