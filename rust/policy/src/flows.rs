use ztna_model::{Flow, Protocol};

use crate::chain::{Chain, Links};
use crate::index::Index;
use crate::key::{HashKey, Key};
use crate::verdict::Slot;

/// The live flows, each with the slot of its rule. Decides nothing: it finds, keeps order by age, and stays in its
/// room.
pub(crate) struct Flows {
    index: Index,
    entries: Vec<Entry>,
    free: Vec<u32>,
    most: u32,
    by_rule: Links,
    by_age: Ages,
    // Which flow was met last with these ports and this resource: found without a hash. A guess, checked in full: who
    // makes guesses collide wins nothing but the way through the index.
    recent: Vec<u32>,
}

/// One live flow: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// The rule it lives under, and from whom its answers must come.
    pub(crate) slot: Slot,
    /// When its last packet passed, and whether TCP has begun to end it.
    pub(crate) seen: Seen,
}

/// A second, and a mark beside it: together they fit where one of them would.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(u32);

impl Seen {
    /// In this second, of those that fit: there are 68 years of them.
    pub(crate) const fn at(second: u32) -> Self {
        Self(second & !Self::ENDING)
    }

    const fn second(self) -> u32 {
        self.0 & !Self::ENDING
    }

    pub(crate) const fn is_ending(self) -> bool {
        self.0 & Self::ENDING != 0
    }

    const fn marked(self, is_ending: bool) -> Self {
        if is_ending { Self(self.0 | Self::ENDING) } else { Self(self.second()) }
    }

    const ENDING: u32 = 1 << 31;
}

/// No flow has this key: what the search has found out, for whoever opens one.
#[derive(Clone, Copy)]
pub(crate) struct Absent {
    hash: u64,
}

/// The flows in the order of their last packets, the longest silent first. Two queues, each with one limit.
struct Ages {
    links: Links,
    long: Chain,
    short: Chain,
}

impl Flows {
    /// Room for `most` flows.
    pub(crate) fn with_room(most: u32) -> Self {
        Self {
            index: Index::with_room(most),
            entries: Vec::with_capacity(most as usize),
            free: Vec::with_capacity(most as usize),
            most,
            by_rule: Links::with_room(most),
            by_age: Ages { links: Links::with_room(most), long: Chain::EMPTY, short: Chain::EMPTY },
            recent: vec![NONE; guesses(most)],
        }
    }

    /// What [`Flows::with_room`] takes, in bytes.
    pub(crate) const fn bytes(most: u32) -> usize {
        let entries = most as usize * (size_of::<Entry>() + size_of::<u32>());
        Index::bytes(most) + entries + 2 * Links::bytes(most) + guesses(most) * size_of::<u32>()
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u32 {
        (self.entries.len() - self.free.len()) as u32
    }

    /// The flow with this key, and its number.
    #[inline(always)]
    pub(crate) fn find(&mut self, secret: &HashKey, key: Key) -> Result<(u32, &Entry), Absent> {
        let guess = self.guess(&key);
        let Self { index, entries, recent, .. } = self;
        let guessed = recent.get(guess).copied().unwrap_or(NONE);
        if let Some(entry) = entries.get(guessed as usize)
            && entry.key.is(&key)
        {
            return Ok((guessed, entry));
        }
        let (number, entry) = search(index, entries, secret, key)?;
        recent.get_mut(guess).into_iter().for_each(|recent| *recent = number);
        Ok((number, entry))
    }

    /// Where in `recent` a flow would be.
    #[inline(always)]
    const fn guess(&self, key: &Key) -> usize {
        key.guess() & (self.recent.len() - 1)
    }

    /// Notes that a packet of flow `number` passes in second `now`.
    #[inline(always)]
    pub(crate) fn touch(&mut self, number: u32, now: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize)
            && entry.seen.second() != now
        {
            entry.seen = Seen::at(now).marked(entry.seen.is_ending());
            let (links, chain) = self.by_age.queue(entry);
            links.leave(chain, number);
            links.join(chain, number);
        }
    }

    /// Notes whether TCP has begun to end flow `number`: it is silent for too long sooner then.
    pub(crate) fn set_ending(&mut self, number: u32, is_ending: bool) {
        let Some(entry) = self.entries.get_mut(number as usize) else { return };
        let (links, chain) = self.by_age.queue(entry);
        links.leave(chain, number);
        entry.seen = entry.seen.marked(is_ending);
        let (links, chain) = self.by_age.queue(entry);
        links.join(chain, number);
    }

    /// Begins a flow that was not found, as the youngest of its rule's `siblings`. Whether there was room.
    pub(crate) fn open(&mut self, absent: Absent, entry: Entry, siblings: &mut Chain) -> bool {
        let Some(number) = self.vacancy(entry) else { return false };
        self.index.insert(absent.hash, number);
        self.by_rule.join(siblings, number);
        let (links, chain) = self.by_age.queue(&entry);
        links.join(chain, number);
        let guess = self.guess(&entry.key);
        self.recent.get_mut(guess).into_iter().for_each(|recent| *recent = number);
        true
    }

    fn vacancy(&mut self, entry: Entry) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            *self.entries.get_mut(number as usize)? = entry;
            return Some(number);
        }
        let number = u32::try_from(self.entries.len()).ok().filter(|number| *number < self.most)?;
        self.entries.push(entry);
        Some(number)
    }

    /// Ends flow `number`, one of its rule's `siblings`.
    pub(crate) fn close(&mut self, secret: &HashKey, number: u32, siblings: &mut Chain) -> Option<Flow> {
        let entry = *self.entries.get(number as usize)?;
        let key = entry.key;
        self.index.remove(key.hash(secret), number);
        self.by_rule.leave(siblings, number);
        let (links, chain) = self.by_age.queue(&entry);
        links.leave(chain, number);
        self.free.push(number);
        // INVARIANT: no way leads to a free entry.
        let guess = self.guess(&key);
        if let Some(recent) = self.recent.get_mut(guess).filter(|recent| **recent == number) {
            *recent = NONE;
        }
        Some(key.flow())
    }

    /// A flow that has been silent for too long by second `now`, and its number.
    pub(crate) fn idle(&self, now: u32) -> Option<(u32, &Entry)> {
        let oldest = |chain: &Chain, limit| {
            let number = chain.first()?;
            let entry = self.entries.get(number as usize)?;
            (now.saturating_sub(entry.seen.second()) > limit).then_some((number, entry))
        };
        oldest(&self.by_age.short, IDLE_SHORT).or_else(|| oldest(&self.by_age.long, IDLE_LONG))
    }
}

// Apart, and with a key of its own, so that the way past it needs few registers and no memory.
#[inline(never)]
fn search<'a>(
    index: &Index,
    entries: &'a [Entry],
    secret: &HashKey,
    key: Key,
) -> Result<(u32, &'a Entry), Absent> {
    let hash = key.hash(secret);
    let found =
        index.find(hash, |number| entries.get(number as usize).is_some_and(|entry| entry.key.is(&key)));
    found.and_then(|number| Some((number, entries.get(number as usize)?))).ok_or(Absent { hash })
}

impl Ages {
    const fn queue(&mut self, entry: &Entry) -> (&mut Links, &mut Chain) {
        match entry.key.protocol() {
            Protocol::Tcp if !entry.seen.is_ending() => (&mut self.links, &mut self.long),
            Protocol::Tcp | Protocol::Udp | Protocol::IcmpEcho => (&mut self.links, &mut self.short),
        }
    }
}

// The length of `recent`: a power of two.
const fn guesses(most: u32) -> usize {
    (most as usize).next_power_of_two()
}

// No flow: beyond every room.
const NONE: u32 = u32::MAX;

// Seconds of silence that a flow outlives: TCP's are RFC 5382's (REQ-5), UDP's and echo's RFC 4787's (REQ-5). What TCP has
// begun to end goes with the short-lived: at the device it would open again with the next packet, and a gateway that
// ends flows itself does so before.
const IDLE_LONG: u32 = 2 * 3600 + 4 * 60;
const IDLE_SHORT: u32 = 2 * 60;

const _: () = assert!(size_of::<Entry>() == 64);
