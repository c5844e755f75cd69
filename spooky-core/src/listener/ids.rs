//! Connection ids that carry the worker, and look random to everyone else.
//!
//! `SO_REUSEPORT` spreads datagrams by address, so a client that moves may land
//! at another worker, which then reads from the id whose connection it is. An id
//! is one AES block: without the key nobody can tell which worker it names, nor
//! make one that names a certain worker.

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use rand::Rng;

/// Bytes of an id.
pub(crate) const LEN: usize = 16;

/// A connection id that we issued.
pub(crate) type Cid = [u8; LEN];

/// Bytes that are zero before encryption: a random id passes as ours once in 2^32.
const CHECK: usize = 4;

/// What an id of ours says to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The worker whose id it is, or was.
    pub(crate) worker: u16,
    /// Which of the keys it was made with; 0 is the current one.
    pub(crate) key: usize,
}

/// Issues and reads connection ids.
pub(crate) struct Ids {
    /// The current key's, then those of keys that are still honoured.
    ciphers: Vec<Aes128>,
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

impl Ids {
    /// Ids are made with the first of `keys` and read with any.
    pub(crate) fn new(keys: &[[u8; 16]]) -> Self {
        assert!(!keys.is_empty(), "ids are made with some key");
        Ids {
            ciphers: keys.iter().map(|key| Aes128::new(key.into())).collect(),
        }
    }

    /// A fresh id for a connection of `worker`.
    pub(crate) fn issue(&self, worker: u16, rng: &mut impl Rng) -> Cid {
        let mut block = [0; LEN];
        block[CHECK..CHECK + 2].copy_from_slice(&worker.to_be_bytes());
        rng.fill_bytes(&mut block[CHECK + 2..]);
        let mut block = block.into();
        self.ciphers[0].encrypt_block(&mut block);
        block.into()
    }

    /// Where an id comes from; `None` if we never issued it.
    pub(crate) fn origin(&self, id: &[u8]) -> Option<Origin> {
        let block: Cid = id.try_into().ok()?;
        self.ciphers.iter().enumerate().find_map(|(key, cipher)| {
            let mut block = block.into();
            cipher.decrypt_block(&mut block);
            let plain: Cid = block.into();
            let ours = plain[..CHECK] == [0; CHECK];
            let worker = u16::from_be_bytes([plain[CHECK], plain[CHECK + 1]]);
            ours.then_some(Origin { worker, key })
        })
    }

    /// The worker whose id this is, or was; `None` if we never issued it.
    #[cfg(test)]
    fn worker(&self, id: &[u8]) -> Option<u16> {
        self.origin(id).map(|origin| origin.worker)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn ids_name_their_worker_to_us_alone() {
        let mut rng = StdRng::seed_from_u64(1);
        let (ours, theirs) = (Ids::new(&[[1; 16]]), Ids::new(&[[2; 16]]));
        for worker in [0, 1, 7, u16::MAX] {
            let id = ours.issue(worker, &mut rng);
            assert_eq!(ours.worker(&id), Some(worker));
            assert_eq!(theirs.worker(&id), None);
            for bit in 0..128 {
                let mut forged = id;
                forged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    ours.worker(&forged),
                    None,
                    "bit {bit} must not aim at another worker"
                );
            }
        }
        assert_eq!(ours.worker(b"short"), None);
    }

    #[test]
    fn ids_of_an_earlier_key_are_still_read() {
        let mut rng = StdRng::seed_from_u64(1);
        let (old, new) = (Ids::new(&[[1; 16]]), Ids::new(&[[2; 16], [1; 16]]));
        assert_eq!(new.worker(&old.issue(7, &mut rng)), Some(7));
        assert_eq!(old.worker(&new.issue(7, &mut rng)), None);
    }
}
