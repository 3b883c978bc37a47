use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::message::{self, Held, MAIN};
use super::socket::Socket;
use super::{DeviceIndex, Family, LinkError, OwnNetwork, Route, Rule};

/// Asks the kernel about the network of this process's namespace, and changes it.
#[derive(Debug)]
pub struct Links(Socket);

impl Links {
    /// Opens a way to ask. Needs no privilege.
    pub fn open() -> Result<Self, LinkError> {
        Socket::open().map(Self)
    }

    /// The device called `name`, if there is one.
    pub fn device(&mut self, name: &str) -> Result<Option<DeviceIndex>, LinkError> {
        let names = self.names()?;
        Ok(names.into_iter().find(|(_, found)| found == name).map(|(index, _)| index))
    }

    /// The networks that this machine stands in, but for those of the device called `except`: what the kernel itself
    /// routes without a router because of an address. Routes that a network handed out are none: neither DHCP's
    /// (option 121) nor a router's announcements make a network one's own.
    pub fn own_networks(&mut self, except: &str) -> Result<Vec<OwnNetwork>, LinkError> {
        let names = self.names()?;
        let addresses = self.addresses()?;
        let mut found = Vec::new();
        for route in self.held(None, Some(MAIN))?.iter().filter(|route| route.is_connected()) {
            let stands_in = |(index, address): &(DeviceIndex, IpAddr)| {
                Some(*index) == route.device && route.to.contains(*address)
            };
            let name = route.device.and_then(|index| names.get(&index)).filter(|name| *name != except);
            if let Some(device) = name.cloned()
                && addresses.iter().any(stands_in)
            {
                found.push(OwnNetwork { prefix: route.to, device });
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The routes of ours in `table`.
    pub fn routes(&mut self, table: u32) -> Result<Vec<Route>, LinkError> {
        let held = self.held(None, Some(table))?;
        Ok(held.iter().filter(|route| route.is_ours()).filter_map(Held::route).collect())
    }

    /// Puts a route of ours into `table`, in place of one to the same prefix with the same metric.
    pub fn put_route(&mut self, table: u32, route: &Route) -> Result<(), LinkError> {
        let order = RouteNetlinkMessage::NewRoute(message::route(table, route));
        self.0.tell(order, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route of ours from `table`; one that is gone already is removed.
    pub fn remove_route(&mut self, table: u32, route: &Route) -> Result<(), LinkError> {
        gone(self.0.tell(RouteNetlinkMessage::DelRoute(message::route(table, route)), 0))
    }

    /// The rules of ours, whatever process put them.
    pub fn rules(&mut self) -> Result<Vec<Rule>, LinkError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            match self.0.dump(RouteNetlinkMessage::GetRule(message::any_rule(family))) {
                Ok(listed) => found.extend(listed.iter().filter_map(message::rule_of)),
                Err(LinkError::FamilyOff) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Puts a rule; one that is there already is put.
    pub fn put_rule(&mut self, rule: &Rule) -> Result<(), LinkError> {
        let order = RouteNetlinkMessage::NewRule(message::rule(rule));
        there(self.0.tell(order, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Removes a rule; one that is gone already is removed.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), LinkError> {
        gone(self.0.tell(RouteNetlinkMessage::DelRule(message::rule(rule)), 0))
    }

    /// Gives `device` an address that it shares with no network; one that it has already is given.
    pub fn put_address(&mut self, device: DeviceIndex, address: IpAddr) -> Result<(), LinkError> {
        let order = RouteNetlinkMessage::NewAddress(message::address(device, address));
        there(self.0.tell(order, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Turns `device` on.
    pub fn turn_on(&mut self, device: DeviceIndex) -> Result<(), LinkError> {
        self.0.tell(RouteNetlinkMessage::SetLink(message::turned_on(device)), 0)
    }

    /// Devices that are on and have a carrier.
    pub(super) fn working(&mut self) -> Result<Vec<DeviceIndex>, LinkError> {
        let listed = self.0.dump(RouteNetlinkMessage::GetLink(message::any_link()))?;
        Ok(listed.iter().filter_map(message::working_device).collect())
    }

    /// Every address, and whose it is.
    pub(super) fn addresses(&mut self) -> Result<Vec<(DeviceIndex, IpAddr)>, LinkError> {
        let listed = self.0.dump(RouteNetlinkMessage::GetAddress(message::any_address()))?;
        Ok(listed.iter().filter_map(message::address_of).collect())
    }

    /// Default routes, of every table.
    pub(super) fn defaults(&mut self) -> Result<Vec<Held>, LinkError> {
        Ok(self.held(None, None)?.into_iter().filter(|route| route.to.length() == 0).collect())
    }

    fn names(&mut self) -> Result<BTreeMap<DeviceIndex, String>, LinkError> {
        let listed = self.0.dump(RouteNetlinkMessage::GetLink(message::any_link()))?;
        Ok(listed.iter().filter_map(message::name_of).collect())
    }

    /// Routes as the kernel has them, of one family and one table or of all.
    fn held(&mut self, family: Option<Family>, table: Option<u32>) -> Result<Vec<Held>, LinkError> {
        let mut found = Vec::new();
        for asked in Family::ALL.into_iter().filter(|asked| family.is_none_or(|family| family == *asked)) {
            match self.0.dump(RouteNetlinkMessage::GetRoute(message::any_route(asked))) {
                Ok(listed) => found.extend(listed.iter().filter_map(Held::of)),
                Err(LinkError::FamilyOff) => {}
                Err(error) => return Err(error),
            }
        }
        found.retain(|route| table.is_none_or(|table| route.table == table));
        Ok(found)
    }
}

fn there(outcome: Result<(), LinkError>) -> Result<(), LinkError> {
    match outcome {
        Err(LinkError::Refused(cause)) if cause.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn gone(outcome: Result<(), LinkError>) -> Result<(), LinkError> {
    match outcome {
        Err(LinkError::Missing) => Ok(()),
        other => other,
    }
}
