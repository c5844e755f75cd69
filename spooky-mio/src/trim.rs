//! Memory that a crowd of clients took goes back to the system when they have left.
//!
//! All of it is freed, but glibc keeps what is freed for itself: measured, a flood of
//! 10 000 unfinished handshakes left the process 118 MB larger for as long as it lived,
//! as nothing but the topmost free memory is ever given back unasked. So it is asked.
//! That makes whoever allocates meanwhile wait, for some milliseconds a 100 MB: hence
//! only after many have left, and not while they are leaving.
#![cfg_attr(
    target_env = "gnu",
    allow(
        unsafe_code,
        reason = "there is no other way to glibc's own malloc_trim, and no safe wrapper of it"
    )
)]

/// So many connections fewer than there were: some 30 MB.
const CROWD: u32 = 1000;
/// So often it is looked at in vain before the crowd has come to an end.
const CALM: u32 = 2;

/// Watches how many clients there are.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    /// The most there were since memory was given back.
    most: u32,
    last: u32,
    calm: u32,
}

impl Trim {
    /// There are so many now; to be told about once a second.
    pub(crate) fn look(&mut self, clients: u32) {
        if self.is_due(clients) {
            give_back();
            log::debug!("a crowd has left {clients} clients: free memory was given back");
        }
    }

    fn is_due(&mut self, clients: u32) -> bool {
        self.most = self.most.max(clients);
        let leaving = clients + CROWD / 10 < self.last;
        self.last = clients;
        self.calm = if leaving { 0 } else { self.calm + 1 };
        let left = self.most - clients;
        let due = left >= CROWD && left >= clients && self.calm >= CALM;
        if due {
            self.most = clients;
        }
        due
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time and from any thread ("MT-Safe"),
    // and touches nothing but memory that is free.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(clients: &[u32]) -> Vec<usize> {
        let mut trim = Trim::default();
        let at = clients.iter().enumerate();
        let at = at.filter(|(_, clients)| trim.is_due(**clients));
        at.map(|(n, _)| n).collect()
    }

    #[test]
    fn memory_is_given_back_once_the_crowd_has_left() {
        assert_eq!(due(&[5, 9000, 7000, 2000, 5, 5, 5, 5]), [6]);
        assert_eq!(due(&[9000, 0, 0, 0, 9000, 0, 0, 0]), [3, 7]);
    }

    #[test]
    fn those_who_come_and_go_are_no_crowd() {
        assert!(due(&[900, 0, 0, 0, 900, 0, 0, 0]).is_empty());
        assert!(due(&[50_000, 40_000, 40_000, 40_000, 49_000]).is_empty());
    }
}
