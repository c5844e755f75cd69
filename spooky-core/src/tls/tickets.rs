//! Keys of session tickets: derived from the secret and the time.
//!
//! A ticket is a session that its client keeps for us, encrypted. Its keys change with
//! the time of day, [`EPOCH`] by epoch, and are the same wherever the secret is, so any
//! worker, a restarted process and another machine open what one of them made. Keys of
//! past epochs are kept for as long as a ticket lives, those of the next one because
//! another machine's clock may be ahead. Nothing of it is stored: what can be derived
//! again has no state that could get lost.
//!
//! The first 16 bytes of a ticket name its key, and anybody on the way can read them.
//! So they are pseudorandom: 8 for the epoch's key, 8 for who made it (epoch, instance,
//! boot). BoringSSL authenticates them with the ticket (its MAC covers the name), so a
//! process can tell its own tickets from those of others; see [`super::early`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::secrets::Secrets;

/// How long new tickets are made with one key.
pub(crate) const EPOCH: Duration = Duration::from_secs(12 * 60 * 60);

/// Epochs that a ticket may be older than the present: BoringSSL lets tickets live for
/// two days (SSL_DEFAULT_SESSION_PSK_DHE_TIMEOUT).
const PAST: u64 = 2 * 24 * 60 * 60 / EPOCH.as_secs();

/// What stands at the front of a ticket (SSL_TICKET_KEY_NAME_LEN).
pub(crate) type Name = [u8; 16];
const HALF: usize = 8;

/// The keys of one epoch and secret.
pub(crate) struct TicketKey {
    name: [u8; HALF],
    /// Who we are among those who share the key.
    maker: [u8; HALF],
    pub(crate) cipher: [u8; 32],
    pub(crate) mac: [u8; 32],
}

/// The ticket keys of a process.
pub(crate) struct Tickets {
    secrets: Secrets,
    instance: String,
    /// Random, another at each start.
    boot: [u8; 16],
    /// Read once or twice a handshake, which costs a thousand times as much; written
    /// twice a day.
    ring: RwLock<Ring>,
}

struct Ring {
    epoch: u64,
    /// The present epoch's key of the current secret is first.
    keys: Vec<Arc<TicketKey>>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Without keys until the first [`Tickets::turn`].
    pub(crate) fn new(secrets: Secrets, instance: &str, boot: [u8; 16]) -> Self {
        Tickets {
            secrets,
            instance: instance.to_owned(),
            boot,
            ring: RwLock::new(Ring {
                epoch: 0,
                keys: Vec::new(),
            }),
        }
    }

    /// It is `wall` now.
    pub(crate) fn turn(&self, wall: SystemTime) {
        let epoch = epoch(wall);
        let current = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if current.epoch == epoch && !current.keys.is_empty() {
            return;
        }
        drop(current);
        let keys = self.derive(epoch);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring { epoch, keys };
    }

    /// The key for a new ticket, and its name.
    pub(crate) fn newest(&self) -> Option<(Arc<TicketKey>, Name)> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::clone(ring.keys.first()?);
        let mut name = Name::default();
        name[..HALF].copy_from_slice(&key.name);
        name[HALF..].copy_from_slice(&key.maker);
        Some((key, name))
    }

    /// The key that a ticket was made with. Looks through at most [`PAST`] + 2 keys a
    /// secret, eight bytes each.
    pub(crate) fn find(&self, name: &Name) -> Option<Arc<TicketKey>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let found = ring.keys.iter().find(|key| name[..HALF] == key.name);
        found.map(Arc::clone)
    }

    /// The ticket was made by this very process, if it is sound.
    pub(crate) fn is_ours(&self, name: &Name) -> bool {
        self.find(name).is_some_and(|key| name[HALF..] == key.maker)
    }

    fn derive(&self, present: u64) -> Vec<Arc<TicketKey>> {
        let past = (1..=PAST).map(|age| present.wrapping_sub(age));
        let epochs = [present, present.wrapping_add(1)].into_iter().chain(past);
        let boot = u128::from_be_bytes(self.boot);
        let mut keys = Vec::new();
        for epoch in epochs {
            let material = self
                .secrets
                .keys::<{ 64 + HALF }>(&format!("tickets {epoch}"));
            let label = format!("ticket maker {epoch} {boot:032x} {}", self.instance);
            let makers = self.secrets.keys::<HALF>(&label);
            for (bytes, maker) in material.iter().zip(makers) {
                let (mut cipher, mut mac, mut name) = ([0; 32], [0; 32], [0; HALF]);
                cipher.copy_from_slice(&bytes[..32]);
                mac.copy_from_slice(&bytes[32..64]);
                name.copy_from_slice(&bytes[64..]);
                keys.push(Arc::new(TicketKey {
                    name,
                    maker,
                    cipher,
                    mac,
                }));
            }
        }
        keys
    }
}

fn epoch(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / EPOCH.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_opened_wherever_the_secret_is_and_for_as_long_as_it_lives() {
        let (here, there) = (tickets(&["one"], "a", 1), tickets(&["one"], "b", 2));
        let begin = UNIX_EPOCH + EPOCH * 40_000;
        here.turn(begin);
        let (key, name) = here.newest().expect("there is a key");
        for (after, opens) in [
            (Duration::ZERO, true),
            (EPOCH, true),
            (EPOCH * 5 - Duration::from_secs(1), true),
            (EPOCH * 5, false),
        ] {
            there.turn(begin + after);
            let found = there.find(&name);
            assert_eq!(found.is_some(), opens, "{after:?}");
            assert!(found.is_none_or(|found| found.cipher == key.cipher && found.mac == key.mac));
        }
        there.turn(begin - Duration::from_secs(1));
        assert!(there.find(&name).is_some(), "a clock that is behind");
        there.turn(begin - EPOCH - Duration::from_secs(1));
        assert!(there.find(&name).is_none());
    }

    #[test]
    fn keys_change_with_the_epoch_and_the_secret() {
        let now = UNIX_EPOCH + EPOCH * 40_000;
        let one = tickets(&["one"], "a", 1);
        one.turn(now);
        let (first, _) = one.newest().expect("there is a key");
        one.turn(now + EPOCH);
        let (second, _) = one.newest().expect("there is a key");
        assert_ne!(first.cipher, second.cipher);
        assert_ne!(first.mac, second.mac);
        assert_ne!(second.cipher, second.mac);
        let two = tickets(&["two"], "a", 1);
        two.turn(now);
        assert_ne!(two.newest().expect("there is a key").0.cipher, first.cipher);
    }

    #[test]
    fn an_earlier_secret_opens_and_makes_nothing() {
        let now = UNIX_EPOCH + EPOCH * 40_000;
        let (old, new) = (tickets(&["old"], "a", 1), tickets(&["new", "old"], "a", 1));
        old.turn(now);
        new.turn(now);
        let (_, made) = old.newest().expect("there is a key");
        assert!(new.find(&made).is_some());
        let (_, made) = new.newest().expect("there is a key");
        assert!(old.find(&made).is_none());
    }

    #[test]
    fn only_the_process_that_made_a_ticket_calls_it_its_own() {
        let now = UNIX_EPOCH + EPOCH * 40_000;
        let maker = tickets(&["one"], "a", 1);
        maker.turn(now);
        let (_, name) = maker.newest().expect("there is a key");
        maker.turn(now + EPOCH);
        assert!(maker.is_ours(&name), "also when its epoch is over");
        for (instance, boot) in [("a", 2), ("b", 1)] {
            let other = tickets(&["one"], instance, boot);
            other.turn(now);
            assert!(other.find(&name).is_some());
            assert!(!other.is_ours(&name), "{instance} {boot}");
        }
        let mut forged = name;
        forged[15] ^= 1;
        assert!(!maker.is_ours(&forged));
    }

    #[test]
    fn before_the_time_is_known_there_is_no_key() {
        let tickets = tickets(&["one"], "a", 1);
        assert!(tickets.newest().is_none());
        tickets.turn(UNIX_EPOCH);
        assert!(tickets.newest().is_some(), "a clock that was never set");
    }

    fn tickets(secrets: &[&str], instance: &str, boot: u8) -> Tickets {
        let previous: Vec<Vec<u8>> = secrets[1..].iter().map(|s| s.as_bytes().to_vec()).collect();
        let secrets = Secrets::new(secrets[0].as_bytes(), &previous);
        Tickets::new(secrets, instance, [boot; 16])
    }
}
