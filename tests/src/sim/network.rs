//! What happens to a datagram between two nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::trace::Party;

/// One kind of road, the same both ways. Chances are parts in a million.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Time a datagram takes at least.
    pub latency: Duration,
    /// … and up to so much more.
    pub jitter: Duration,
    /// Chance to be lost.
    pub loss: u32,
    /// Chance to arrive twice.
    pub duplicates: u32,
    /// Chance to be late by up to `late_by`, so that others overtake it.
    pub reorders: u32,
    /// See `reorders`.
    pub late_by: Duration,
    /// Chance to arrive with some bits flipped.
    pub corrupts: u32,
    /// UDP payload that passes, bytes; what is larger is lost.
    pub mtu: usize,
    /// Bytes a second, if there is a bound.
    pub bandwidth: Option<u64>,
    /// Time a datagram may wait for its turn on a link of bounded bandwidth, before
    /// it is dropped.
    pub queue: Duration,
}

impl Link {
    /// Ten milliseconds, and nothing gets lost.
    pub fn clean() -> Self {
        Link {
            latency: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0,
            duplicates: 0,
            reorders: 0,
            late_by: Duration::from_millis(20),
            corrupts: 0,
            mtu: 1500,
            bandwidth: None,
            queue: Duration::from_millis(100),
        }
    }

    /// A poor mobile network: 25 to 30 ms, 2 % lost, 1 % twice, 2 % out of order.
    pub fn lossy() -> Self {
        Link {
            latency: Duration::from_millis(25),
            jitter: Duration::from_millis(5),
            loss: 20_000,
            duplicates: 10_000,
            reorders: 20_000,
            late_by: Duration::from_millis(40),
            ..Link::clean()
        }
    }

    /// Within a rack: a tenth of a millisecond.
    pub fn rack() -> Self {
        Link {
            latency: Duration::from_micros(100),
            ..Link::clean()
        }
    }
}

/// What may be done to one datagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Harm {
    /// It is lost.
    Lost,
    /// It arrives twice.
    Twice,
    /// It arrives late.
    Late,
    /// It arrives altered.
    Altered,
}

/// Something done to the `n`th datagram from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PacketFault {
    /// `Party::number` of the sender.
    pub from: u64,
    /// … and of the receiver.
    pub to: u64,
    /// Which of the datagrams on this way, from 0.
    pub n: u64,
    /// What was done.
    pub harm: Harm,
}

/// When copies of a datagram arrive, and how.
#[derive(Default)]
pub(crate) struct Fate {
    /// Virtual nanoseconds; `None` for a copy that does not arrive.
    pub(crate) arrivals: [Option<u64>; 2],
    /// Where bits flip: the bytes at these places, each modulo the length.
    pub(crate) altered: Option<[u64; 3]>,
}

/// The ways between nodes.
pub(crate) struct Network {
    seed: u64,
    pub(crate) client_link: Link,
    pub(crate) backend_link: Link,
    /// Links of single nodes, instead of these.
    pub(crate) own_links: BTreeMap<Party, Link>,
    /// Datagrams sent so far, and when the last of them has left, a way.
    ways: BTreeMap<(Party, Party), Way>,
    /// Nodes that nobody hears, and that hear nobody.
    pub(crate) cut_off: BTreeSet<Party>,
    /// Everything that was done.
    pub(crate) faults: Vec<PacketFault>,
    /// If given, only this is done: to shrink a run.
    pub(crate) only: Option<BTreeSet<PacketFault>>,
}

#[derive(Default)]
struct Way {
    sent: u64,
    free_at: u64,
}

impl Network {
    pub(crate) fn new(seed: u64, client_link: Link, backend_link: Link) -> Self {
        Network {
            seed,
            client_link,
            backend_link,
            own_links: BTreeMap::new(),
            ways: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            faults: Vec::new(),
            only: None,
        }
    }

    /// Decides about the next datagram from one node to another, of `len` bytes.
    ///
    /// A pure function of the seed, the way and the number of the datagram on it,
    /// as far as harm goes: what is removed elsewhere leaves it alone, which makes
    /// shrinking converge.
    pub(crate) fn fate(&mut self, from: Party, to: Party, len: usize, now: u64) -> Fate {
        // One end is the balancer: the link is the other's.
        let peer = if from == Party::Balancer { to } else { from };
        let common = match peer {
            Party::Client(_) => &self.client_link,
            Party::Backend(_) | Party::Balancer | Party::Nobody => &self.backend_link,
        };
        let link = self.own_links.get(&peer).unwrap_or(common);
        let way = self.ways.entry((from, to)).or_default();
        let n = way.sent;
        way.sent += 1;
        if len > link.mtu || self.cut_off.contains(&from) || self.cut_off.contains(&to) {
            return Fate::default();
        }
        let Some(departure) = way.depart(link, len, now) else {
            return Fate::default();
        };
        let label = (from.number() << 20) ^ to.number().rotate_left(17) ^ (n << 1) ^ 0x6e65;
        let mut dice = Rng::new(self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15), label);
        let mut fault = |harm, chance: u32, dice: &mut Rng| {
            let fault = PacketFault {
                from: from.number(),
                to: to.number(),
                n,
                harm,
            };
            let allowed = self.only.as_ref().is_none_or(|only| only.contains(&fault));
            let happens = dice.chance(chance) && allowed;
            if happens {
                self.faults.push(fault);
            }
            happens
        };
        // All dice are thrown, whatever comes of them: taking one harm away must
        // not move the others.
        let lost = fault(Harm::Lost, link.loss, &mut dice);
        let twice = fault(Harm::Twice, link.duplicates, &mut dice);
        let late = fault(Harm::Late, link.reorders, &mut dice);
        let altered = fault(Harm::Altered, link.corrupts, &mut dice);
        let late_by = dice.below(1 + link.late_by.as_nanos() as u64);
        let travel = |dice: &mut Rng| {
            departure
                + link.latency.as_nanos() as u64
                + dice.below(1 + link.jitter.as_nanos() as u64)
        };
        let (first, second) = (travel(&mut dice), travel(&mut dice));
        let places = [dice.bits(), dice.bits(), dice.bits()];
        if lost {
            return Fate::default();
        }
        Fate {
            arrivals: [
                Some(first + if late { late_by } else { 0 }),
                twice.then_some(second),
            ],
            altered: altered.then_some(places),
        }
    }
}

impl Way {
    /// When the last byte is on the road; `None` if the queue before it is full.
    fn depart(&mut self, link: &Link, len: usize, now: u64) -> Option<u64> {
        let Some(bandwidth) = link.bandwidth else {
            return Some(now);
        };
        let begins = self.free_at.max(now);
        if begins - now > link.queue.as_nanos() as u64 {
            return None;
        }
        self.free_at = begins + len as u64 * 1_000_000_000 / bandwidth.max(1);
        Some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Party = Party::Client(0);

    #[test]
    fn a_link_of_bounded_bandwidth_delays_and_then_drops() {
        let link = Link {
            bandwidth: Some(1_000_000),
            queue: Duration::from_millis(2),
            ..Link::clean()
        };
        let mut network = Network::new(1, link, Link::clean());
        let mut arrival = |_| network.fate(CLIENT, Party::Balancer, 1000, 0).arrivals[0];
        let arrivals: Vec<_> = (0..5).map(&mut arrival).collect();
        let ms = |count: u64| Some(count * 1_000_000);
        assert_eq!(arrivals, [ms(11), ms(12), ms(13), None, None]);
    }

    #[test]
    fn the_fate_of_a_datagram_does_not_depend_on_other_ways() {
        let fates = |others: u32| {
            let mut network = Network::new(7, Link::lossy(), Link::lossy());
            let mut arrivals = Vec::new();
            for _ in 0..200 {
                for other in 1..=others {
                    network.fate(Party::Client(other), Party::Balancer, 100, 0);
                }
                arrivals.push(network.fate(CLIENT, Party::Balancer, 100, 0).arrivals);
            }
            arrivals
        };
        assert_eq!(fates(0), fates(3));
        let lost = fates(0).iter().filter(|f| f[0].is_none()).count();
        assert!((1..20).contains(&lost), "{lost} of 200 lost at 2 %");
    }

    #[test]
    fn only_the_harm_that_is_kept_is_done() {
        let mut network = Network::new(7, Link::lossy(), Link::clean());
        for _ in 0..500 {
            network.fate(CLIENT, Party::Balancer, 100, 0);
        }
        let kept: BTreeSet<_> = network.faults.iter().copied().take(2).collect();
        let mut again = Network::new(7, Link::lossy(), Link::clean());
        again.only = Some(kept.clone());
        for _ in 0..500 {
            again.fate(CLIENT, Party::Balancer, 100, 0);
        }
        assert_eq!(again.faults.into_iter().collect::<BTreeSet<_>>(), kept);
    }

    #[test]
    fn a_node_may_have_a_link_of_its_own() {
        let mut network = Network::new(7, Link::clean(), Link::clean());
        network.own_links.insert(CLIENT, Link::rack());
        let arrival = |network: &mut Network, who| network.fate(Party::Balancer, who, 9, 0);
        let own = arrival(&mut network, CLIENT).arrivals[0];
        let other = arrival(&mut network, Party::Client(1)).arrivals[0];
        assert_eq!((own, other), (Some(100_000), Some(10_000_000)));
    }

    #[test]
    fn who_is_cut_off_is_not_heard() {
        let mut network = Network::new(7, Link::clean(), Link::clean());
        network.cut_off.insert(CLIENT);
        assert_eq!(
            network.fate(CLIENT, Party::Balancer, 9, 0).arrivals,
            [None, None]
        );
        assert_eq!(
            network.fate(Party::Balancer, CLIENT, 9, 0).arrivals,
            [None, None]
        );
        let other = network.fate(Party::Client(1), Party::Balancer, 9, 0);
        assert!(other.arrivals[0].is_some());
    }
}
