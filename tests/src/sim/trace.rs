//! What happened: a hash over all of it, the last actions in words, and a log of
//! everything when it is asked for.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use super::world;

/// Actions a failure prints.
const LAST: usize = 50;

/// A hash of everything observable: each datagram's bytes, ends and virtual time,
/// timers, faults, what nodes noted, and how often entropy was drawn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceHash(u64, u64);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// One thing that happened.
#[derive(Clone)]
pub(crate) struct Action {
    /// Virtual nanoseconds.
    at: u64,
    pub(crate) what: What,
    pub(crate) from: Party,
    pub(crate) to: Party,
    len: usize,
    /// The first bytes of a datagram.
    head: [u8; 8],
    text: Option<Box<str>>,
}

/// The kinds of actions. The order is part of the hash of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Sent,
    Arrived,
    Lost,
    Timer,
    Fault,
    Note,
}

/// Who took part in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Party {
    /// A client, by its index.
    Client(u32),
    /// A backend, by its index.
    Backend(u32),
    /// The balancer.
    Balancer,
    /// Nobody has that address.
    Nobody,
}

impl Party {
    /// A number of its own for each.
    pub(crate) fn number(self) -> u64 {
        match self {
            Party::Nobody => 0,
            Party::Balancer => 1,
            Party::Backend(index) => 0x1_0000 + u64::from(index),
            Party::Client(index) => 0x1_0000_0000 + u64::from(index),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Client(index) => write!(f, "client {index}"),
            Party::Backend(index) => write!(f, "backend {index}"),
            Party::Balancer => f.write_str("balancer"),
            Party::Nobody => f.write_str("nobody"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at).as_secs_f64();
        write!(f, "{at:>14.6}  {:<11}", self.from.to_string())?;
        match self.what {
            What::Sent | What::Arrived | What::Lost => {
                let verb = match self.what {
                    What::Sent => "sends",
                    What::Arrived => "reaches",
                    What::Lost | What::Timer | What::Fault | What::Note => "is lost on its way to",
                };
                write!(f, " {verb} {}: {} bytes ", self.to, self.len)?;
                self.head
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            What::Timer => f.write_str(" timer"),
            What::Fault | What::Note => write!(f, " {}", self.text.as_deref().unwrap_or("")),
        }
    }
}

pub(crate) struct Trace {
    a: u64,
    b: u64,
    last: VecDeque<Action>,
    log: Option<BufWriter<File>>,
}

impl Trace {
    /// An empty trace; all of it goes to `log` as well.
    pub(crate) fn new(log: Option<&Path>) -> Self {
        let open = |path: &Path| {
            let file = File::create(path);
            let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            BufWriter::with_capacity(1 << 20, file)
        };
        Trace {
            a: 0x243f_6a88_85a3_08d3,
            b: 0x1319_8a2e_0370_7344,
            last: VecDeque::with_capacity(LAST),
            log: log.map(open),
        }
    }

    /// A datagram, with all its bytes.
    pub(crate) fn datagram(&mut self, what: What, from: Party, to: Party, bytes: &[u8]) {
        let mut head = [0; 8];
        let known = bytes.len().min(8);
        head[..known].copy_from_slice(&bytes[..known]);
        self.hash(what, from, to, bytes);
        self.keep(what, from, to, bytes.len(), head, None);
    }

    /// A timer of `who`.
    pub(crate) fn timer(&mut self, who: Party) {
        self.hash(What::Timer, who, Party::Nobody, &[]);
        self.keep(What::Timer, who, Party::Nobody, 0, [0; 8], None);
    }

    /// A fault, or what a node has to say, in words.
    pub(crate) fn say(&mut self, what: What, who: Party, text: String) {
        self.hash(what, who, Party::Nobody, text.as_bytes());
        self.keep(
            what,
            who,
            Party::Nobody,
            text.len(),
            [0; 8],
            Some(text.into()),
        );
    }

    /// The hash of all so far.
    pub(crate) fn sum(&mut self) -> TraceHash {
        let (a, b) = (self.a, self.b);
        self.word(world::draws());
        self.word(world::now());
        let sum = TraceHash(self.a, self.b);
        (self.a, self.b) = (a, b);
        sum
    }

    /// The last actions, one a line.
    pub(crate) fn last(&self) -> String {
        self.last
            .iter()
            .map(|action| format!("{action}\n"))
            .collect()
    }

    fn keep(
        &mut self,
        what: What,
        from: Party,
        to: Party,
        len: usize,
        head: [u8; 8],
        text: Option<Box<str>>,
    ) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        let at = world::now();
        let action = Action {
            at,
            what,
            from,
            to,
            len,
            head,
            text,
        };
        if let Some(log) = &mut self.log {
            writeln!(log, "{action}  {:016x}", self.a).expect("the log takes a line");
        }
        self.last.push_back(action);
    }

    fn hash(&mut self, what: What, from: Party, to: Party, bytes: &[u8]) {
        for word in [
            what as u64,
            world::now(),
            from.number(),
            to.number(),
            bytes.len() as u64,
        ] {
            self.word(word);
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    fn word(&mut self, word: u64) {
        let product = u128::from(self.a ^ word) * u128::from(0xa076_1d64_78bd_642f_u64);
        self.a = (product as u64) ^ ((product >> 64) as u64);
        let turned = self.b.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.b = turned ^ word ^ self.a;
    }
}
