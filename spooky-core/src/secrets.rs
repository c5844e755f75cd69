//! One secret in, all keys out.
//!
//! Tickets, Retry and reset tokens, connection ids and cookies each have a key of their
//! own, derived from one secret by its name, so that workers, restarts and machines with
//! the same secret honour one another's, and none of the keys tells of another
//! (HKDF-SHA256, RFC 5869; the name is the `info`).

use std::fmt;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// The secret that makes new keys, and earlier ones that are still honoured.
#[derive(Clone)]
pub(crate) struct Secrets {
    current: Prk,
    previous: Vec<Prk>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("previous", &self.previous.len())
            .finish_non_exhaustive()
    }
}

/// Bytes that a configured secret has at least: as many as the keys that come from it.
const LEAST: usize = 32;

impl Secrets {
    /// A configured secret, if it is long enough, and not one character again and again,
    /// so that nobody finds it by trying.
    pub(crate) fn check(secret: &[u8]) -> Result<&[u8], String> {
        let same = secret.iter().all(|byte| Some(byte) == secret.first());
        if secret.len() >= LEAST && !same {
            return Ok(secret);
        }
        let found = if secret.len() < LEAST {
            format!(
                "has {} bytes, and a secret has {LEAST} at least",
                secret.len()
            )
        } else {
            "is one character again and again".to_owned()
        };
        Err(format!(
            "{found}; make one with: head -c 32 /dev/urandom | base64"
        ))
    }

    /// From secrets of any length; whether one is hard to guess is for the caller to see.
    pub(crate) fn new(current: &[u8], previous: &[Vec<u8>]) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"spooky");
        Secrets {
            current: salt.extract(current),
            previous: previous.iter().map(|secret| salt.extract(secret)).collect(),
        }
    }

    /// The key named `label` that new things are made with.
    pub(crate) fn key<const N: usize>(&self, label: &str) -> [u8; N] {
        expand(&self.current, label)
    }

    /// The keys named `label` that things are read with: the current one, then those of
    /// earlier secrets.
    pub(crate) fn keys<const N: usize>(&self, label: &str) -> Vec<[u8; N]> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|secret| expand(secret, label))
            .collect()
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(secret: &Prk, label: &str) -> [u8; N] {
    const { assert!(N <= 255 * 32, "RFC 5869 section 2.3: L <= 255*HashLen") }
    let mut key = [0; N];
    secret
        .expand(&[label.as_bytes()], Bytes(N))
        .and_then(|okm| okm.fill(&mut key))
        .expect("the length is within HKDF's bound");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_secret_and_its_name_alone() {
        let secrets = Secrets::new(b"one", &[]);
        let key: [u8; 32] = secrets.key("ids");
        assert_eq!(key, Secrets::new(b"one", &[b"zero".to_vec()]).key("ids"));
        assert_ne!(key, secrets.key("tickets"));
        assert_ne!(key, Secrets::new(b"two", &[]).key("ids"));
        let short: [u8; 16] = secrets.key("ids");
        assert_eq!(
            short,
            key[..16],
            "a shorter key is the front of a longer one"
        );
    }

    #[test]
    fn what_earlier_secrets_made_is_still_read() {
        let (old, new) = (
            Secrets::new(b"old", &[]),
            Secrets::new(b"new", &[b"old".to_vec()]),
        );
        let keys = new.keys::<16>("ids");
        assert_eq!(keys, [new.key("ids"), old.key("ids")]);
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?}", Secrets::new(b"open sesame", &[b"old".to_vec()]));
        assert_eq!(printed, "Secrets { previous: 1, .. }");
    }
}
