//! A `Proxy` with its sockets and its letterbox: all of a driver but the waiting.

use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::io::{Datagram, Event, Misrouted, SocketId, Transmit};
use spooky_core::pump::{Io, Pump, Sent};
use spooky_core::{Params, Proxy};

use crate::mail::{Command, HANDED_OVER, HandedOver, LastReports, Letterbox, Slot};
use crate::{Batch, IoCounters, Report, Socket};

/// Batches read from one socket in a turn: a busy socket must not keep the
/// others, and the timers, waiting.
const BATCHES: usize = 4;
/// How often the core is told the wall clock.
const CLOCK: Duration = Duration::from_secs(1);

/// Takes the events of all workers, on their threads: it must be quick.
pub type Observe = Arc<dyn Fn(Event) + Send + Sync>;

/// One worker: moves datagrams between its sockets and its `Proxy`.
///
/// ```text
/// loop {
///     wait for sockets, for the wake, until deadline();
///     ready(socket) for each that has something;
///     turn();
///     if ended() { break }
/// }
/// ```
pub struct Worker {
    index: usize,
    proxy: Proxy,
    pump: Pump,
    ports: Vec<Port>,
    batch: Batch,
    misrouted: Vec<Misrouted>,
    letterbox: Letterbox,
    /// Letters were left for the next turn.
    letters_left: bool,
    slots: Arc<[Slot]>,
    last: LastReports,
    observe: Observe,
    clock: Instant,
    counters: IoCounters,
    state: State,
}

/// A socket and what is known of it.
struct Port {
    socket: Socket,
    /// It may hold datagrams.
    readable: bool,
    /// Its error queue may tell of datagrams that reached nobody.
    news: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The core has no connection left. What it gave out last may still wait.
    Drained,
    Stopped,
}

impl Worker {
    /// The worker that `params` describes. `sockets` are those it names.
    pub(crate) fn new(
        params: Params,
        sockets: Vec<Socket>,
        letterbox: Letterbox,
        (slots, last): (Arc<[Slot]>, LastReports),
        observe: Observe,
    ) -> Self {
        let now = Instant::now();
        let port = |socket| Port {
            socket,
            readable: true,
            news: false,
        };
        Worker {
            index: params.worker,
            proxy: Proxy::new(params, now),
            pump: Pump::new(),
            ports: sockets.into_iter().map(port).collect(),
            batch: Batch::new(),
            misrouted: Vec::new(),
            letterbox,
            letters_left: false,
            slots,
            last,
            observe,
            clock: now + CLOCK,
            counters: IoCounters::default(),
            state: State::Running,
        }
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its sockets; the place is what [`Worker::ready`] takes.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.ports.iter().map(|port| &port.socket)
    }

    /// Notes that a socket has something to read.
    pub fn ready(&mut self, socket: usize) {
        if let Some(port) = self.ports.get_mut(socket) {
            port.readable = true;
        }
    }

    /// Notes that a socket has an error to report, such as a peer's absence.
    pub fn failed(&mut self, socket: usize) {
        if let Some(port) = self.ports.get_mut(socket) {
            port.news = true;
        }
    }

    /// Does everything there is to do now, within bounds, and never waits.
    pub fn turn(&mut self) {
        self.read_letters();
        for index in 0..self.ports.len() {
            if mem::take(&mut self.ports[index].news) {
                self.read_errors(index);
            }
            if mem::take(&mut self.ports[index].readable) {
                self.ports[index].readable = self.read_socket(index);
            }
        }
        self.keep_time();
        self.pump();
    }

    /// When the next turn is due at the latest, whatever the sockets do. A time
    /// that has passed means now.
    pub fn deadline(&self) -> Instant {
        if self.letters_left || self.ports.iter().any(|port| port.readable || port.news) {
            return Instant::now();
        }
        self.proxy
            .poll_timeout()
            .map_or(self.clock, |timeout| timeout.min(self.clock))
    }

    /// The socket that is full and must be writable before the rest can be sent.
    pub fn blocked(&self) -> Option<usize> {
        self.pump
            .held()
            .map(|transmit| usize::from(transmit.socket.0))
    }

    /// True when it has drained or was stopped: there will be nothing to do.
    pub fn ended(&self) -> bool {
        match self.state {
            State::Running => false,
            State::Drained => self.pump.held().is_none(),
            State::Stopped => true,
        }
    }

    fn read_letters(&mut self) {
        self.letterbox.open();
        // A bound, because anybody can send datagrams that seem to belong
        // elsewhere, faster than they are taken in.
        let mut left = HANDED_OVER;
        while let Some(HandedOver { from, to, mut data }) = self.letterbox.datagram() {
            let datagram = Datagram {
                socket: SocketId::LISTENER,
                from,
                to,
                stride: data.len(),
                handed_over: true,
                data: &mut data,
            };
            self.proxy
                .handle_datagram(datagram, &mut self.misrouted, Instant::now());
            debug_assert!(
                self.misrouted.is_empty(),
                "what was handed over is never handed on"
            );
            left -= 1;
            if left == 0 {
                break;
            }
        }
        self.letters_left = left == 0;
        while let Some(command) = self.letterbox.command() {
            let now = Instant::now();
            match command {
                Command::Drain(deadline) => self.proxy.drain(deadline, now),
                Command::Stop => {
                    // A drain whose deadline is now closes everything; peers are
                    // told if their sockets take it.
                    self.proxy.drain(now, now);
                    self.proxy.handle_timeout(now);
                    self.pump();
                    self.state = State::Stopped;
                }
                Command::Report(answer) => answer(self.report()),
            }
        }
    }

    /// Reads a bounded number of batches. True if there may be more.
    fn read_socket(&mut self, index: usize) -> bool {
        for _ in 0..BATCHES {
            match self.batch.receive(&self.ports[index].socket) {
                Ok(full) => {
                    self.deliver(index);
                    if !full {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Mostly news of a datagram that reached nobody. It comes once, in
                // place of the datagrams that wait behind it.
                Err(error) => {
                    self.counters.receive_errors += 1;
                    log::debug!(
                        "receiving on {}: {error}",
                        self.ports[index].socket.local_addr()
                    );
                    self.read_errors(index);
                }
            }
        }
        true
    }

    /// Gives the batch just received to the core.
    fn deliver(&mut self, index: usize) {
        let socket = self.ports[index].socket.id();
        let now = Instant::now();
        for message in self.batch.messages() {
            if message.from.port() == 0 {
                self.counters.datagrams_refused += 1;
                continue;
            }
            let (from, to) = (message.from, message.to);
            let datagram = Datagram {
                socket,
                from,
                to,
                stride: message.stride,
                handed_over: false,
                data: &mut *message.data,
            };
            self.proxy
                .handle_datagram(datagram, &mut self.misrouted, now);
            for Misrouted { worker, range } in self.misrouted.drain(..) {
                // Only listeners share an address. What comes to a socket of this
                // worker's own and bears another's id is forged.
                let data = message.data[range].to_vec();
                let taken = socket == SocketId::LISTENER
                    && self.slots[worker].hand_over(HandedOver { from, to, data });
                *(if taken {
                    &mut self.counters.handed_over
                } else {
                    &mut self.counters.handed_over_dropped
                }) += 1;
            }
        }
    }

    fn read_errors(&mut self, index: usize) {
        let socket = &self.ports[index].socket;
        let now = Instant::now();
        let more = socket.unreachable(|to| {
            self.counters.unreachable += 1;
            self.proxy.handle_unreachable(socket.id(), to, now);
        });
        self.ports[index].news = more;
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self
            .proxy
            .poll_timeout()
            .is_some_and(|timeout| timeout <= now)
        {
            self.proxy.handle_timeout(now);
        }
        if self.clock <= now {
            self.clock = now + CLOCK;
            self.proxy.handle_clock(SystemTime::now(), now);
        }
    }

    fn pump(&mut self) {
        let mut outlet = Outlet {
            ports: &mut self.ports,
            counters: &mut self.counters,
            observe: &self.observe,
            drained: false,
        };
        // What is held back is asked of the pump by `blocked`.
        let _ = self.pump.run(&mut self.proxy, &mut outlet, Instant::now());
        if outlet.drained && self.state == State::Running {
            self.state = State::Drained;
        }
    }

    fn report(&self) -> Report {
        Report {
            snapshot: self.proxy.snapshot(),
            io: self.counters,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a panic nothing that the proxy says can be relied on.
        if thread::panicking() {
            return;
        }
        let report = self.report();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last[self.index] = Some(report);
    }
}

/// What the pump drains into.
struct Outlet<'a> {
    ports: &'a mut [Port],
    counters: &'a mut IoCounters,
    observe: &'a Observe,
    drained: bool,
}

impl Io for Outlet<'_> {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let port = &mut self.ports[usize::from(transmit.socket.0)];
        let sent = port.socket.send(transmit, bytes, self.counters);
        // Perhaps an earlier datagram reached nobody, and the send that failed
        // swallowed the event that would have told.
        port.news |= port.socket.take_failed();
        sent
    }

    fn max_segments(&self) -> usize {
        self.ports
            .iter()
            .map(|port| port.socket.max_segments())
            .min()
            .unwrap_or(1)
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Drained => self.drained = true,
            Event::Exchange(_) | Event::KeyLog(_) | Event::Qlog(_) => {}
        }
        (self.observe)(event);
    }
}
