use ztna_model::Flow;

use crate::netstack::Netstack;
use crate::output::{Cause, Event, News};
use crate::slot::Body;
use crate::stream::{Scope, StreamId};

impl Netstack {
    /// Ends this direction of a connection: after what was given so far comes a FIN. The other direction goes on.
    pub fn shutdown_write(&mut self, stream: StreamId) {
        if let Some(tcp) = self.tcp(stream) {
            tcp.shutdown_write();
            self.mark_ready(stream.index);
        }
    }

    /// Ends a flow at once. The peer is told, by a reset or by ICMP; the caller knows, so no event follows.
    pub fn abort(&mut self, stream: StreamId) {
        if let Some(slot) = self.flows.named(stream) {
            slot.named = false;
            slot.news = News::default();
            self.part(stream.index);
        }
    }

    /// Ends every flow for which `is_meant` holds: its peer is told as by [`abort`](Self::abort), and each ends in
    /// [`Event::Reset`]. The flow that it is asked about is seen from the packets of whoever began it.
    pub fn abort_where(&mut self, mut is_meant: impl FnMut(Scope, &Flow) -> bool) {
        for number in self.flows.numbers() {
            let Some(slot) = self.flows.slot(number) else { continue };
            if matches!(slot.body, Body::Gone) || !is_meant(slot.scope, &slot.flow()) {
                continue;
            }
            if slot.named {
                slot.news.add(Event::Reset(Cause::Aborted));
                slot.named = false;
            }
            self.part(number);
        }
    }

    /// Lets a flow that nobody here names any more take leave of its peer.
    fn part(&mut self, number: u32) {
        let Some(slot) = self.flows.slot(number) else { return };
        self.deadlines.set(number, None);
        match &mut slot.body {
            Body::Tcp(tcp) => {
                if !tcp.abort() {
                    self.flows.close(number);
                }
            }
            Body::Wanted(_) => self.flows.turn_away(number),
            Body::Udp(_) if !slot.ours => self.flows.turn_away(number),
            Body::Udp(_) | Body::Lingering(_) | Body::Gone => self.flows.close(number),
            Body::Unwanted(_) | Body::Prohibited => {}
        }
        self.mark_ready(number);
        self.mark_telling(number);
    }
}
