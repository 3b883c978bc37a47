use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use zbus::{Connection, fdo, interface};
use ztna_model::millis;

/// Answers on a bus of its own as systemd-resolved does, and remembers what it was told.
pub(crate) struct Resolve1 {
    pub(crate) bus: String,
    calls: Arc<Mutex<Vec<String>>>,
    _connection: Connection,
    daemon: Child,
}

struct Manager {
    calls: Arc<Mutex<Vec<String>>>,
    tls: &'static str,
    lets_links_differ: bool,
}

impl Resolve1 {
    /// `tls` is the machine's `DNSOverTLS`; `lets_links_differ` says whether a link may have another.
    pub(crate) async fn start(tls: &'static str, lets_links_differ: bool) -> Self {
        let bus = "unix:path=/run/bus".to_owned();
        std::fs::write("/run/bus.conf", CONFIG).unwrap();
        let _ = std::fs::remove_file("/run/bus"); // of one before
        let daemon = Command::new("dbus-daemon").args(["--config-file=/run/bus.conf", "--nofork"]).spawn();
        let daemon = daemon.unwrap_or_else(|error| panic!("needs `dbus-daemon`: {error}"));
        while !std::path::Path::new("/run/bus").exists() {
            sleep(millis(10)).await;
        }
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let manager = Manager { calls: Arc::clone(&calls), tls, lets_links_differ };
        let connection = zbus::connection::Builder::address(bus.as_str()).name("org.freedesktop.resolve1");
        let connection = connection.serve_at("/org/freedesktop/resolve1", manager).build().await.unwrap();
        Self { bus, calls, _connection: connection, daemon }
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Resolve1 {
    fn drop(&mut self) {
        let _ = self.daemon.kill(); // it may have ended
        let _ = self.daemon.wait();
    }
}

impl Manager {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

#[interface(name = "org.freedesktop.resolve1.Manager")]
impl Manager {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) {
        let servers = servers.iter().map(|(family, bytes)| {
            let bytes: Vec<String> = bytes.iter().map(ToString::to_string).collect();
            format!(" {family} {}", bytes.join("."))
        });
        self.note(format!("SetLinkDNS {index}{}", servers.collect::<String>()));
    }

    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) {
        let domains =
            domains.iter().map(|(name, routing)| format!(" {}{name}", if *routing { "~" } else { "" }));
        self.note(format!("SetLinkDomains {index}{}", domains.collect::<String>()));
    }

    fn set_link_default_route(&self, index: i32, on: bool) {
        self.note(format!("SetLinkDefaultRoute {index} {on}"));
    }

    #[zbus(name = "SetLinkLLMNR")]
    fn set_link_llmnr(&self, index: i32, mode: String) {
        self.note(format!("SetLinkLLMNR {index} {mode}"));
    }

    #[zbus(name = "SetLinkMulticastDNS")]
    fn set_link_multicast_dns(&self, index: i32, mode: String) {
        self.note(format!("SetLinkMulticastDNS {index} {mode}"));
    }

    #[zbus(name = "SetLinkDNSSEC")]
    fn set_link_dnssec(&self, index: i32, mode: String) {
        self.note(format!("SetLinkDNSSEC {index} {mode}"));
    }

    #[zbus(name = "SetLinkDNSOverTLS")]
    fn set_link_dns_over_tls(&self, index: i32, mode: String) -> fdo::Result<()> {
        if !self.lets_links_differ {
            return Err(fdo::Error::AccessDenied("links may not differ".into()));
        }
        self.note(format!("SetLinkDNSOverTLS {index} {mode}"));
        Ok(())
    }

    fn flush_caches(&self) {
        self.note("FlushCaches".into());
    }

    fn revert_link(&self, index: i32) {
        self.note(format!("RevertLink {index}"));
    }

    #[zbus(property, name = "DNSOverTLS")]
    fn dns_over_tls(&self) -> String {
        self.tls.into()
    }
}

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=/run/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;
