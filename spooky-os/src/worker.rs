//! A `Proxy` with its sockets and its letterbox: all of a driver but the waiting.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use spooky_core::io::{Datagram, Event, Misrouted, SocketId, Transmit};
use spooky_core::pump::{Io, Pump, Sent};
use spooky_core::{Params, Proxy, Setup, Shared};

use crate::listen::names;
use crate::mail::{Command, HandedOver, LastReports, Letterbox, Slot, letterbox};
use crate::{Batch, Control, IoCounters, Report, Socket, Wake};

/// Batches read from one socket in a turn: a busy socket must not keep the
/// others, and the timers, waiting.
const BATCHES: usize = 4;
/// How often the core is told the wall clock.
const CLOCK: Duration = Duration::from_secs(1);

/// Takes the events of all workers, on their threads: it must be quick.
pub type Observe = Arc<dyn Fn(Event) + Send + Sync>;

/// The workers could not be made.
#[derive(Debug)]
pub enum StartError {
    /// The listener could not be bound.
    Bind(crate::BindError),
    /// The system lacks something else.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<crate::BindError> for StartError {
    fn from(error: crate::BindError) -> Self {
        StartError::Bind(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::System(error)
    }
}

/// Makes the workers of a server and the control over them.
///
/// `sockets` come from [`crate::bind`], one list a worker, and `wakes` has one
/// waker for each. There is at least one worker, and every one has a listener.
pub fn assemble(
    setup: Setup,
    sockets: Vec<Vec<Socket>>,
    wakes: Vec<Wake>,
    observe: &Observe,
) -> Result<(Vec<Worker>, Control), StartError> {
    assert_eq!(sockets.len(), wakes.len(), "every worker has a waker");
    let setup = Arc::new(setup);
    let shared = Shared::new(&setup, sockets.len(), seed()?);
    let (slots, letterboxes): (Vec<Slot>, Vec<Letterbox>) =
        wakes.into_iter().map(letterbox).unzip();
    let slots: Arc<[Slot]> = slots.into();
    let last: LastReports = Arc::new(Mutex::new(vec![None; slots.len()]));
    let mut workers: Vec<Worker> = Vec::with_capacity(slots.len());
    for (index, (sockets, letterbox)) in sockets.into_iter().zip(letterboxes).enumerate() {
        let names = names(&sockets).expect("every worker has a listener");
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (setup, shared) = (Arc::clone(&setup), Arc::clone(&shared));
        let params = Params {
            setup,
            shared,
            worker: index,
            seed: seed()?,
            wall,
            sockets: names,
        };
        workers.push(Worker {
            index,
            proxy: Proxy::new(params, now),
            pump: Pump::new(),
            ports: sockets
                .into_iter()
                .map(|socket| Port {
                    socket,
                    readable: true,
                    news: false,
                })
                .collect(),
            batch: Batch::new(),
            misrouted: Vec::new(),
            letterbox,
            slots: Arc::clone(&slots),
            last: Arc::clone(&last),
            observe: Arc::clone(observe),
            clock: now + CLOCK,
            counters: IoCounters::default(),
            state: State::Running,
        });
    }
    let local_addr = workers.first().expect("there is a worker").ports[0]
        .socket
        .local_addr();
    Ok((
        workers,
        Control {
            slots,
            last,
            local_addr,
        },
    ))
}

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
        if self.ports.iter().any(|port| port.readable || port.news) {
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
        while let Some(HandedOver { from, to, mut data }) = self.letterbox.datagram() {
            let stride = data.len();
            let datagram = Datagram {
                socket: SocketId::LISTENER,
                from,
                to,
                stride,
                handed_over: true,
                data: &mut data,
            };
            self.proxy
                .handle_datagram(datagram, &mut self.misrouted, Instant::now());
            debug_assert!(
                self.misrouted.is_empty(),
                "what was handed over is never handed on"
            );
        }
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
        let mut failed = false;
        for _ in 0..BATCHES {
            match self.batch.receive(&self.ports[index].socket) {
                Ok(full) => {
                    failed = false;
                    self.deliver(index);
                    if !full {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Mostly news of a datagram that reached nobody, which comes once.
                Err(error) => {
                    self.counters.receive_errors += 1;
                    self.read_errors(index);
                    if mem::replace(&mut failed, true) {
                        log::warn!(
                            "cannot receive on {}: {error}",
                            self.ports[index].socket.local_addr()
                        );
                        return false;
                    }
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
                let data = message.data[range].to_vec();
                let taken = self.slots[worker].hand_over(HandedOver { from, to, data });
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
            Event::Exchange(_) => {}
        }
        (self.observe)(event);
    }
}

/// Randomness for keys. The core takes it from here and nowhere else.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}
