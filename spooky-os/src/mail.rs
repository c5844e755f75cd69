//! How workers reach each other, and how their owner reaches them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spooky_core::Clients;
use spooky_core::observe::Snapshot;

use crate::IoCounters;

/// Datagrams that may wait to be taken by the worker they belong to. They are
/// rare (clients that moved), and QUIC repairs what is dropped.
pub(crate) const HANDED_OVER: usize = 1024;

/// Wakes a worker that waits, from any thread. Cheap to call in vain.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a worker tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The core's view.
    pub snapshot: Snapshot,
    /// The sockets' view.
    pub io: IoCounters,
}

/// A datagram that arrived at another worker than its own.
pub(crate) struct HandedOver {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) data: Vec<u8>,
}

/// What a worker is asked to do.
pub(crate) enum Command {
    /// Finish what is in flight until the deadline, accept nothing new.
    Drain(Instant),
    /// End now.
    Stop,
    /// Tell how things are.
    Report(Box<dyn FnOnce(Report) + Send>),
}

/// Where letters to one worker are thrown in.
pub(crate) struct Slot {
    datagrams: SyncSender<HandedOver>,
    commands: Sender<Command>,
    unread: Arc<AtomicBool>,
    wake: Wake,
}

/// Where a worker finds them.
pub(crate) struct Letterbox {
    datagrams: Receiver<HandedOver>,
    commands: Receiver<Command>,
    /// Set by the first letter, which wakes the worker; further ones need not.
    unread: Arc<AtomicBool>,
}

pub(crate) fn letterbox(wake: Wake) -> (Slot, Letterbox) {
    let (to_datagrams, datagrams) = mpsc::sync_channel(HANDED_OVER);
    let (to_commands, commands) = mpsc::channel();
    let unread = Arc::new(AtomicBool::new(false));
    let slot = Slot {
        datagrams: to_datagrams,
        commands: to_commands,
        unread: Arc::clone(&unread),
        wake,
    };
    (
        slot,
        Letterbox {
            datagrams,
            commands,
            unread,
        },
    )
}

impl Slot {
    /// False if the queue is full, or the worker has ended.
    pub(crate) fn hand_over(&self, datagram: HandedOver) -> bool {
        let taken = self.datagrams.try_send(datagram).is_ok();
        if taken {
            self.announce();
        }
        taken
    }

    fn command(&self, command: Command) {
        // A worker that ended needs no commands.
        if self.commands.send(command).is_ok() {
            self.announce();
        }
    }

    fn announce(&self) {
        if !self.unread.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl Letterbox {
    /// To be called before reading: what is thrown in from then on wakes again.
    pub(crate) fn open(&self) {
        self.unread.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn datagram(&self) -> Option<HandedOver> {
        self.datagrams.try_recv().ok()
    }

    pub(crate) fn command(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}

/// The last words of workers that ended, by index.
pub(crate) type LastReports = Arc<Mutex<Vec<Option<Report>>>>;

/// Commands all workers of a server. Clones command the same ones.
#[derive(Clone)]
pub struct Control {
    pub(crate) slots: Arc<[Slot]>,
    pub(crate) last: LastReports,
    pub(crate) clients: Clients,
    pub(crate) local_addr: SocketAddr,
}

impl Control {
    /// Where clients reach the server, with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many workers it was started with.
    pub fn workers(&self) -> usize {
        self.slots.len()
    }

    /// Connections of clients, all workers together. Asks nobody.
    pub fn clients(&self) -> u32 {
        self.clients.count()
    }

    /// Lets every worker finish what is in flight within `timeout`, and end.
    pub fn drain(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for slot in self.slots.iter() {
            slot.command(Command::Drain(deadline));
        }
    }

    /// Lets every worker close its connections and end at once.
    pub fn stop(&self) {
        for slot in self.slots.iter() {
            slot.command(Command::Stop);
        }
    }

    /// Asks every worker for a report. Each answers by one call of what `answer`
    /// makes for it, on the worker's thread, or drops it if it has ended:
    /// [`Control::last_report`] has its last words then.
    pub fn ask<A>(&self, mut answer: impl FnMut(usize) -> A)
    where
        A: FnOnce(Report) + Send + 'static,
    {
        for (worker, slot) in self.slots.iter().enumerate() {
            slot.command(Command::Report(Box::new(answer(worker))));
        }
    }

    /// The last report of a worker that ended orderly.
    pub fn last_report(&self, worker: usize) -> Option<Report> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(worker)
            .cloned()
            .flatten()
    }

    /// All workers' reports in one, waited for. Not for use on a worker's own thread.
    pub fn report(&self) -> Report {
        let mut answers = Vec::with_capacity(self.workers());
        self.ask(|_| {
            let (sender, receiver) = mpsc::sync_channel(1);
            answers.push(receiver);
            move |report| {
                // Whoever asked may have gone.
                let _ = sender.try_send(report);
            }
        });
        let each = answers
            .iter()
            .enumerate()
            .map(|(worker, answer)| answer.recv().ok().or_else(|| self.last_report(worker)));
        Report::sum(each.flatten())
    }
}

impl Report {
    /// All of them in one.
    pub fn sum(reports: impl Iterator<Item = Report>) -> Report {
        let mut sum = Report::default();
        for report in reports {
            sum.snapshot.merge(&report.snapshot);
            sum.io.merge(&report.io);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_full_queue_drops_and_only_the_first_letter_wakes() {
        let (slot, letterbox, woken) = counted();
        for _ in 0..HANDED_OVER {
            assert!(slot.hand_over(datagram()));
        }
        assert!(!slot.hand_over(datagram()));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        letterbox.open();
        assert!(letterbox.datagram().is_some());
        assert!(slot.hand_over(datagram()));
        slot.command(Command::Stop);
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        assert!(matches!(letterbox.command(), Some(Command::Stop)));
    }

    #[test]
    fn reports_add_up_over_workers_that_live_and_that_ended() {
        let (alive, letterbox, _) = counted();
        let (ended, _, _) = counted();
        let told = |requests| {
            let mut report = Report::default();
            report.snapshot.counters.requests = requests;
            report.io.handed_over = 1;
            report
        };
        let control = Control {
            slots: Arc::new([alive, ended]),
            last: Arc::new(Mutex::new(vec![None, Some(told(5))])),
            clients: Clients::default(),
            local_addr: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let asking = std::thread::spawn(move || control.report());
        let answer = loop {
            match letterbox.command() {
                Some(Command::Report(answer)) => break answer,
                Some(Command::Drain(_) | Command::Stop) | None => std::thread::yield_now(),
            }
        };
        answer(told(2));
        let sum = asking.join().expect("no panic");
        assert_eq!((sum.snapshot.counters.requests, sum.io.handed_over), (7, 2));
    }

    fn counted() -> (Slot, Letterbox, Arc<AtomicUsize>) {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (slot, letterbox) = letterbox(wake);
        (slot, letterbox, woken)
    }

    fn datagram() -> HandedOver {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        HandedOver {
            from: address,
            to: address,
            data: vec![0],
        }
    }
}
