//! What signals mean.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Finish what is in flight, then end.
    Drain,
    /// End at once.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// Turns signals into wishes: the first TERM or INT drains, any further one stops.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    draining: bool,
}

impl Wishes {
    pub(crate) fn of(&mut self, signal: i32) -> Option<Wish> {
        match signal {
            SIGTERM | SIGINT if self.draining => Some(Wish::Stop),
            SIGTERM | SIGINT => {
                self.draining = true;
                Some(Wish::Drain)
            }
            SIGHUP => Some(Wish::Reload),
            _ => None,
        }
    }
}

/// Signals that are caught from now on, and wait for [`Caught::each`].
pub(crate) struct Caught(Signals);

impl Caught {
    /// Catches TERM, INT and HUP. To be called before anything can take time, so
    /// that a signal during the start is not lost, nor ends the process half way.
    pub(crate) fn new() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Caught)
    }

    /// Calls `grant` for each wish, on a thread of its own, as long as the process lives.
    pub(crate) fn each(self, mut grant: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
        let Caught(mut signals) = self;
        let listen = move || {
            let mut wishes = Wishes::default();
            for signal in signals.forever() {
                if let Some(wish) = wishes.of(signal) {
                    grant(wish);
                }
            }
        };
        thread::Builder::new()
            .name("spooky-signals".to_owned())
            .spawn(listen)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn the_first_signal_drains_and_every_further_one_stops() {
        let mut wishes = Wishes::default();
        let granted: Vec<_> = [SIGHUP, SIGINT, SIGHUP, SIGTERM, SIGTERM]
            .map(|signal| wishes.of(signal))
            .into();
        let expected = [
            Wish::Reload,
            Wish::Drain,
            Wish::Reload,
            Wish::Stop,
            Wish::Stop,
        ]
        .map(Some);
        assert_eq!(granted, expected);
        assert_eq!(wishes.of(signal_hook::consts::SIGUSR1), None);
    }

    #[test]
    fn raised_signals_arrive_also_from_before_anybody_listened() {
        let caught = Caught::new().expect("signals can be caught");
        raise(SIGTERM).expect("raise");
        let (sender, wishes) = mpsc::channel();
        caught
            .each(move |wish| sender.send(wish).expect("the test listens"))
            .expect("a thread");
        let next = || wishes.recv_timeout(Duration::from_secs(5)).expect("a wish");
        assert_eq!(next(), Wish::Drain);
        raise(SIGTERM).expect("raise");
        assert_eq!(next(), Wish::Stop);
    }
}
