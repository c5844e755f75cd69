//! Who may begin a connection: `limits.connections` and its kin.
//!
//! All is counted over the workers of the process. A client that is one too many is told
//! so before anything is made for it: no connection of quiche's, no TLS. What is counted
//! for a connection is its [`Permit`], which gives it back when it is dropped, once,
//! however the connection ends.
//!
//! An address is known by what one customer has of it: all of an IPv4 address, and the
//! first 64 bits of an IPv6 address. The other 64 name an interface (RFC 4291 section
//! 2.5.1), so that whoever has one address of a /64 has them all. It is the address that a
//! connection began from: one that moves counts where it was admitted.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::pace::{Pace, SharedPace};
use super::places::Places;
use crate::config;
use crate::limits;
use crate::shared::Bounded;

/// What all workers' client connections take together.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    limits: Limits,
    connections: Bounded,
    half_open: Bounded,
    pace: SharedPace,
    places: Places,
    answers: [SharedPace; Answer::COUNT],
    told: [Told; Refusal::COUNT],
    /// What times are counted from: the first that was asked about.
    epoch: OnceLock<Instant>,
}

/// What the log was told of a reason.
#[derive(Debug, Default)]
struct Told {
    pace: SharedPace,
    /// Refused since.
    untold: AtomicU64,
}

/// What is asked of a connection before it begins.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: u32,
    half_open: u32,
    pace: Pace,
    /// Zero is none.
    per_ip: u32,
    pace_per_ip: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::from(&config::Limits::default())
    }
}

impl From<&config::Limits> for Limits {
    fn from(limits: &config::Limits) -> Self {
        Limits {
            connections: limits.connections,
            half_open: limits::HALF_OPEN,
            pace: Pace::per_second(limits.new_connections_per_second),
            per_ip: limits.connections_per_ip,
            pace_per_ip: Pace::per_second(limits.new_connections_per_ip_per_second),
        }
    }
}

/// Why a connection may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `limits.connections` are open.
    Connections,
    /// [`limits::HALF_OPEN`] handshakes are not complete.
    HalfOpen,
    /// `limits.connections_per_ip` are open to this address.
    PerIp,
    /// More than `limits.new_connections_per_second` began.
    Rate,
    /// More than `limits.new_connections_per_ip_per_second` began from this address.
    RatePerIp,
    /// The process is on its way out.
    Draining,
    /// quiche makes no connection of it.
    Broken,
}

impl Refusal {
    const COUNT: usize = Refusal::Broken as usize + 1;

    /// What reached its bound, for a line of the log; `None` if an operator wanted it.
    pub(crate) fn limit(self) -> Option<&'static str> {
        match self {
            Refusal::Connections => Some("limits.connections"),
            Refusal::HalfOpen => Some("the bound on unfinished handshakes"),
            Refusal::PerIp => Some("limits.connections_per_ip"),
            Refusal::Rate => Some("limits.new_connections_per_second"),
            Refusal::RatePerIp => Some("limits.new_connections_per_ip_per_second"),
            Refusal::Draining | Refusal::Broken => None,
        }
    }
}

/// What is said without a connection, and not to everybody of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// CONNECTION_CLOSE in an Initial packet.
    Refusal,
    /// Version negotiation.
    Versions,
    /// A stateless reset.
    Reset,
}

impl Answer {
    const COUNT: usize = Answer::Reset as usize + 1;

    fn pace(self) -> Pace {
        Pace::per_second(match self {
            Answer::Refusal => limits::REFUSALS_PER_SECOND,
            Answer::Versions => limits::VERSION_NEGOTIATIONS_PER_SECOND,
            Answer::Reset => limits::RESETS_PER_SECOND,
        })
    }
}

impl Admission {
    pub(crate) fn new(limits: &config::Limits) -> Self {
        Admission {
            limits: limits.into(),
            ..Admission::default()
        }
    }

    /// A place for one more connection, whose handshake begins, to a client at `from`.
    ///
    /// # Errors
    /// Which limit is reached. Nothing is counted then.
    pub(crate) fn admit(
        self: &Arc<Self>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let at = self.time(now);
        // What costs least comes first, and what many workers would have to wait for
        // each other for, last.
        if !self.pace.has_room(self.limits.pace, at) {
            return Err(Refusal::Rate);
        }
        if !self.connections.try_add(self.limits.connections) {
            return Err(Refusal::Connections);
        }
        // From here on, whatever is refused gives back what was taken.
        let mut permit = Permit {
            admission: Arc::clone(self),
            half_open: false,
            place: None,
        };
        if !self.half_open.try_add(self.limits.half_open) {
            return Err(Refusal::HalfOpen);
        }
        permit.half_open = true;
        if self.limits.counts_addresses() {
            let Limits {
                per_ip,
                pace_per_ip,
                ..
            } = self.limits;
            permit.place = self
                .places
                .take(Address::of(from.ip()), per_ip, pace_per_ip, at)?;
        }
        // One who was too fast for an address must not use up the pace of all.
        if !self.pace.take(self.limits.pace, at) {
            return Err(Refusal::Rate);
        }
        Ok(permit)
    }

    /// Connections whose handshake is not complete, in the whole process.
    pub(crate) fn half_open(&self) -> u32 {
        self.half_open.get()
    }

    /// Connections that hold a place, in the whole process.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.get()
    }

    /// One more was refused: how many were since the log was told of this reason last, if
    /// it may be told again.
    pub(crate) fn tell(&self, refusal: Refusal, now: Instant) -> Option<u64> {
        let told = &self.told[refusal as usize];
        let untold = 1 + told.untold.fetch_add(1, Ordering::Relaxed);
        let line = told.pace.take(Pace::per_second(1), self.time(now));
        line.then(|| {
            told.untold.store(0, Ordering::Relaxed);
            untold
        })
    }

    /// Whether one that gets no connection is told so.
    pub(crate) fn answers(&self, answer: Answer, now: Instant) -> bool {
        self.answers[answer as usize].take(answer.pace(), self.time(now))
    }

    /// Nanoseconds since the first time that was asked about.
    fn time(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        // 584 years.
        now.saturating_duration_since(epoch).as_nanos() as u64
    }
}

impl Limits {
    fn counts_addresses(&self) -> bool {
        self.per_ip > 0 || !self.pace_per_ip.is_free()
    }
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(u32),
    V6Prefix(u64),
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Address::V4(ip.to_bits()),
            IpAddr::V6(ip) => Address::V6Prefix((ip.to_bits() >> 64) as u64),
        }
    }

    /// Any bits that tell many of them apart.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Address::V4(bits) => u64::from(bits),
            Address::V6Prefix(bits) => bits,
        }
    }
}

/// A connection's place, given back when it is dropped: once, however it ends.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    half_open: bool,
    /// The address that it is counted for, if that is limited.
    place: Option<Address>,
}

impl Permit {
    /// The handshake is complete, or will never be.
    pub(crate) fn handshake_over(&mut self) {
        if std::mem::take(&mut self.half_open) {
            self.admission.half_open.sub();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.handshake_over();
        self.admission.connections.sub();
        if let Some(address) = self.place {
            self.admission.places.give_back(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(change: impl FnOnce(&mut config::Limits)) -> Arc<Admission> {
        let mut limits = config::Limits::default();
        change(&mut limits);
        Arc::new(Admission::new(&limits))
    }

    fn from(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 4433)
    }

    /// What comes of `count` clients from one address at a time.
    fn ask(
        admission: &Arc<Admission>,
        ip: &str,
        count: usize,
        now: Instant,
    ) -> (Vec<Permit>, Vec<Refusal>) {
        let (mut permits, mut refusals) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match admission.admit(from(ip), now) {
                Ok(permit) => permits.push(permit),
                Err(refusal) => refusals.push(refusal),
            }
        }
        (permits, refusals)
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test starts somewhere")]
    fn a_place_is_given_back_once() {
        let (admission, now) = (admission(|_| {}), Instant::now());
        let (mut permits, _) = ask(&admission, "192.0.2.1", 2, now);
        assert_eq!((admission.half_open(), admission.connections()), (2, 2));
        permits[0].handshake_over();
        permits[0].handshake_over();
        assert_eq!((admission.half_open(), admission.connections()), (1, 2));
        drop(permits);
        assert_eq!((admission.half_open(), admission.connections()), (0, 0));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test starts somewhere")]
    fn handshakes_are_bounded_and_so_are_connections() {
        let (admission, now) = (admission(|l| l.connections = 20_000), Instant::now());
        let most = limits::HALF_OPEN as usize;
        let (mut permits, refused) = ask(&admission, "192.0.2.1", most + 1, now);
        assert_eq!((permits.len(), refused), (most, vec![Refusal::HalfOpen]));
        permits.iter_mut().for_each(Permit::handshake_over);
        let (more, _) = ask(&admission, "192.0.2.1", most, now);
        permits.extend(more);
        permits.iter_mut().for_each(Permit::handshake_over);
        let (more, refused) = ask(&admission, "192.0.2.2", 1, now);
        assert_eq!((more.len(), refused), (0, vec![Refusal::Connections]));
        permits.pop();
        assert_eq!(ask(&admission, "192.0.2.2", 1, now).0.len(), 1);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test starts somewhere")]
    fn an_address_has_its_share_and_a_64_prefix_is_one_address() {
        let (admission, now) = (admission(|l| l.connections_per_ip = 2), Instant::now());
        let (mut held, refused) = ask(&admission, "192.0.2.1", 3, now);
        assert_eq!((held.len(), refused), (2, vec![Refusal::PerIp]));
        assert_eq!(admission.half_open(), 2, "the refused one left nothing");
        assert_eq!(ask(&admission, "192.0.2.2", 2, now).0.len(), 2);
        let (_v6, _) = ask(&admission, "2001:db8:1:2::1", 2, now);
        let (none, refused) = ask(&admission, "2001:db8:1:2:ffff::9", 1, now);
        assert_eq!((none.len(), refused), (0, vec![Refusal::PerIp]));
        let (_other, refused) = ask(&admission, "2001:db8:1:3::1", 2, now);
        assert_eq!(refused, []);
        held.pop();
        assert_eq!(ask(&admission, "192.0.2.1", 2, now).0.len(), 1);
        drop(held);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test starts somewhere")]
    fn one_who_is_too_fast_does_not_use_up_the_pace_of_all() {
        let (admission, now) = (
            admission(|l| {
                l.new_connections_per_second = 10;
                l.new_connections_per_ip_per_second = 2;
            }),
            Instant::now(),
        );
        let (_held, refused) = ask(&admission, "192.0.2.1", 100, now);
        assert_eq!(refused, [Refusal::RatePerIp; 98]);
        for n in 2..6 {
            let (held, _) = ask(&admission, &format!("192.0.2.{n}"), 2, now);
            assert_eq!(held.len(), 2, "{n}");
        }
        let (none, refused) = ask(&admission, "192.0.2.9", 1, now);
        assert_eq!((none.len(), refused), (0, vec![Refusal::Rate]));
        let later = now + Duration::from_millis(100);
        assert_eq!(ask(&admission, "192.0.2.9", 2, later).0.len(), 1);
        assert_eq!(
            ask(&admission, "192.0.2.1", 1, later).1,
            [Refusal::Rate],
            "both limits hold"
        );
        let later = now + Duration::from_millis(500);
        assert_eq!(ask(&admission, "192.0.2.1", 2, later).0.len(), 1);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test starts somewhere")]
    fn a_line_a_second_for_each_reason_says_how_many_there_were() {
        let (admission, now) = (admission(|_| {}), Instant::now());
        let tell = |refusal, at| admission.tell(refusal, at);
        assert_eq!(tell(Refusal::PerIp, now), Some(1));
        for _ in 0..500 {
            assert_eq!(tell(Refusal::PerIp, now), None);
        }
        assert_eq!(tell(Refusal::Rate, now), Some(1), "another reason");
        let later = now + Duration::from_secs(1);
        assert_eq!(tell(Refusal::PerIp, later), Some(501));
        assert_eq!(tell(Refusal::PerIp, later), None);
    }
}
