//! Who may write next on a connection.
//!
//! A connection's capacity is its congestion window's, and whoever writes first takes
//! all there is: two equal downloads were measured at 8 to 1. So bodies are written in
//! turns of [`TURN_BYTES`], and this decides whose turn it is.
//!
//! **Urgency first** (RFC 9218 section 10: "servers respect the urgency parameter,
//! sending higher-urgency responses before lower-urgency responses"). A connection
//! to which a client gave no priorities has one urgency, 3, and all that follows is
//! plain rotation.
//!
//! **Equals in rotation**, those that said nothing and those that said `i` alike. RFC
//! 9218 would serve the former one after the other, which is best for them if all have
//! begun: but a client that says nothing has hardly thought of its long download that
//! holds up all it asks for later. Turns are counted in bytes. One that is cut short
//! because the window is full goes on where it was; else who happens to come when the
//! window opens wide would get more each time.
//!
//! **Who said `i=?0` first among equals**, in the order of the streams (RFC 9218
//! section 10: "Non-incremental responses of the same urgency SHOULD be served by
//! prioritizing bandwidth allocation in ascending order of the stream ID"), to its end;
//! but every eighth turn goes to those in rotation, or to the next of its kind. RFC
//! 9218 leaves the mixture open and warns of starvation: a response that never ends,
//! which is legal, would silence its equals for good.
//!
//! **Every sixteenth turn to the less urgent**, one level after the other. Strictly
//! after the urgent, their requests would keep a backend's stream open with nothing to
//! show for it until somebody's timeout ends them, for as long as the client finds
//! something more urgent. The urgent lose 6 % by it, and only while others wait.
//!
//! Nobody saves turns up: the count begins when there is someone to make room for.
//! Each operation takes constant time (for `i=?0`, the logarithm of how many said so),
//! and nothing is kept of who left.

use std::collections::BTreeMap;

use slab::Slab;

use crate::http::Priority;
use crate::limits::{ALONE_TURNS, EMPTY_TABLE, TURN_BYTES, URGENT_TURNS};

const LEVELS: usize = Priority::LEVELS as usize;

/// Those who wait for a turn.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    waiting: Slab<Waiting<T>>,
    /// Those in rotation, by urgency.
    rotation: [Line; LEVELS],
    /// Who wants to be served alone, by urgency and stream.
    alone: BTreeMap<(u8, u64), (T, usize)>,
    /// Levels where somebody is in rotation, and where somebody is alone, as bits.
    rotating: u8,
    lone: u8,
    /// What the more urgent owe the less urgent, and who of these had the last turn.
    urgent: Debt,
    humble: u8,
    /// What those alone owe their equals.
    alone_debt: [Debt; LEVELS],
    /// Whose the last turn was, until it is accounted for.
    last: Option<Choice>,
}

/// Where somebody stands; of use until it has its turn or is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    InRotation(usize),
    Alone { level: u8, stream: u64 },
}

/// Somebody's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn<T> {
    pub(crate) who: T,
    /// Bytes it may write.
    pub(crate) bytes: usize,
    /// The urgency at which they are to leave: where the turn was due to the less
    /// urgent, that of those who owed it.
    pub(crate) level: u8,
}

/// Somebody in rotation: a link of its level's line.
#[derive(Debug)]
struct Waiting<T> {
    who: T,
    level: u8,
    bytes: usize,
    before: usize,
    after: usize,
}

/// No link.
const NOBODY: usize = usize::MAX;

/// A line of those who wait, as its ends.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: usize,
    last: usize,
}

/// How a turn was given.
#[derive(Clone, Copy, Debug)]
struct Choice {
    level: u8,
    /// Toward those who are less urgent, and toward its equals: whether it came before
    /// them, in their stead, or nobody else was there.
    urgent: Rank,
    alone: Rank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Ahead,
    InReturn,
    Unopposed,
}

/// Bytes that some got before others, and that these got in return.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    taken: usize,
    returned: usize,
}

impl Debt {
    /// So many turns were taken that one is due to the others.
    fn is_due(self, turns: usize) -> bool {
        self.taken >= turns * TURN_BYTES
    }

    fn account(&mut self, rank: Rank, bytes: usize) {
        match rank {
            Rank::Ahead => self.taken = self.taken.saturating_add(bytes),
            Rank::InReturn => {
                self.returned += bytes;
                if self.returned >= TURN_BYTES {
                    *self = Debt::default();
                }
            }
            Rank::Unopposed => *self = Debt::default(),
        }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        let empty = Line {
            first: NOBODY,
            last: NOBODY,
        };
        Turns {
            waiting: Slab::new(),
            rotation: [empty; LEVELS],
            alone: BTreeMap::new(),
            rotating: 0,
            lone: 0,
            urgent: Debt::default(),
            humble: 0,
            alone_debt: [Debt::default(); LEVELS],
            last: None,
        }
    }
}

impl<T: Copy> Turns<T> {
    /// `who`, for `stream`, waits for a turn.
    pub(crate) fn push(&mut self, who: T, stream: u64, priority: Priority) -> Place {
        let level = priority.urgency();
        if priority.is_alone() {
            return self.push_alone(who, stream, level, TURN_BYTES);
        }
        let last = self.rotation[usize::from(level)].last;
        self.link(who, level, TURN_BYTES, last, NOBODY)
    }

    /// `who` had its turn, wrote `written` bytes and has more. Less than the turn's
    /// bytes, because the connection is full: it stays first in its line, with what is
    /// left of the turn.
    pub(crate) fn again(
        &mut self,
        turn: Turn<T>,
        written: usize,
        stream: u64,
        priority: Priority,
    ) -> Place {
        let left = turn.bytes.saturating_sub(written);
        if left == 0 {
            return self.push(turn.who, stream, priority);
        }
        let level = priority.urgency();
        if priority.is_alone() {
            return self.push_alone(turn.who, stream, level, left);
        }
        let first = self.rotation[usize::from(level)].first;
        self.link(turn.who, level, left, NOBODY, first)
    }

    /// Whose turn it is. It waits no longer.
    pub(crate) fn pop(&mut self) -> Option<Turn<T>> {
        let (level, urgent) = self.level()?;
        let first = lowest(self.rotating | self.lone)?;
        let bit = 1 << level;
        let at = usize::from(level);
        let (lone, rotating) = (self.lone & bit != 0, self.rotating & bit != 0);
        let due = self.alone_debt[at].is_due(ALONE_TURNS);
        let (place, alone) = match (lone, rotating) {
            (true, true) if due => (self.first_in_rotation(level), Rank::InReturn),
            (true, true) => (self.nth_alone(level, 0), Rank::Ahead),
            (true, false) => match self.nth_alone(level, 1) {
                Some(second) if due => (Some(second), Rank::InReturn),
                Some(_) => (self.nth_alone(level, 0), Rank::Ahead),
                None => (self.nth_alone(level, 0), Rank::Unopposed),
            },
            (false, _) => (self.first_in_rotation(level), Rank::Unopposed),
        };
        self.last = Some(Choice {
            level,
            urgent,
            alone,
        });
        let turn = self.remove(place?)?;
        Some(Turn {
            level: first,
            ..turn
        })
    }

    /// The last turn was used for so many bytes.
    pub(crate) fn spent(&mut self, bytes: usize) {
        if let Some(choice) = self.last.take() {
            self.urgent.account(choice.urgent, bytes);
            if choice.urgent == Rank::InReturn && self.urgent.taken == 0 {
                self.humble = choice.level;
            }
            self.alone_debt[usize::from(choice.level)].account(choice.alone, bytes);
        }
    }

    /// Takes somebody out. `None` if it is not there.
    pub(crate) fn remove(&mut self, place: Place) -> Option<Turn<T>> {
        match place {
            Place::InRotation(key) => self.unlink(key),
            Place::Alone { level, stream } => {
                let (who, bytes) = self.alone.remove(&(level, stream))?;
                if self.nth_alone(level, 0).is_none() {
                    self.lone &= !(1 << level);
                }
                Some(Turn { who, bytes, level })
            }
        }
    }

    /// Whether `who` stands at `place`. For checks.
    pub(crate) fn has(&self, place: Place, who: T) -> bool
    where
        T: PartialEq,
    {
        match place {
            Place::InRotation(key) => self.waiting.get(key).is_some_and(|w| w.who == who),
            Place::Alone { level, stream } => self
                .alone
                .get(&(level, stream))
                .is_some_and(|(w, _)| *w == who),
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.alone.len()
    }

    /// The level whose turn it is.
    fn level(&self) -> Option<(u8, Rank)> {
        let levels = self.rotating | self.lone;
        let first = lowest(levels)?;
        let others = levels & !(1 << first);
        let Some(next) = lowest(others) else {
            return Some((first, Rank::Unopposed));
        };
        if !self.urgent.is_due(URGENT_TURNS) {
            return Some((first, Rank::Ahead));
        }
        // The next after the one that had the last such turn.
        let after = others & (u8::MAX << self.humble) & !(1 << self.humble);
        Some((lowest(after).unwrap_or(next), Rank::InReturn))
    }

    fn first_in_rotation(&self, level: u8) -> Option<Place> {
        let first = self.rotation[usize::from(level)].first;
        (first != NOBODY).then_some(Place::InRotation(first))
    }

    fn nth_alone(&self, level: u8, n: usize) -> Option<Place> {
        let streams = (level, 0)..=(level, u64::MAX);
        let (&(level, stream), _) = self.alone.range(streams).nth(n)?;
        Some(Place::Alone { level, stream })
    }

    fn push_alone(&mut self, who: T, stream: u64, level: u8, bytes: usize) -> Place {
        self.alone.insert((level, stream), (who, bytes));
        self.lone |= 1 << level;
        Place::Alone { level, stream }
    }

    /// Puts `who` between two who stand beside each other, or at an end.
    fn link(&mut self, who: T, level: u8, bytes: usize, before: usize, after: usize) -> Place {
        let key = self.waiting.insert(Waiting {
            who,
            level,
            bytes,
            before,
            after,
        });
        self.join(level, before, key);
        self.join(level, key, after);
        self.rotating |= 1 << level;
        Place::InRotation(key)
    }

    fn unlink(&mut self, key: usize) -> Option<Turn<T>> {
        let gone = self.waiting.try_remove(key)?;
        self.join(gone.level, gone.before, gone.after);
        if self.waiting.is_empty() && self.waiting.capacity() > EMPTY_TABLE {
            // A crowd that has left leaves no memory behind.
            self.waiting = Slab::new();
        }
        if self.rotation[usize::from(gone.level)].first == NOBODY {
            self.rotating &= !(1 << gone.level);
        }
        Some(Turn {
            who: gone.who,
            bytes: gone.bytes,
            level: gone.level,
        })
    }

    /// Makes two stand beside each other; nobody on one side is the end of the line.
    fn join(&mut self, level: u8, before: usize, after: usize) {
        let line = &mut self.rotation[usize::from(level)];
        match self.waiting.get_mut(before) {
            Some(waiting) => waiting.after = after,
            None => line.first = after,
        }
        match self.waiting.get_mut(after) {
            Some(waiting) => waiting.before = before,
            None => line.last = before,
        }
    }
}

/// The lowest level among `levels`.
fn lowest(levels: u8) -> Option<u8> {
    // Trailing zeros of a byte are at most 8.
    (levels != 0).then(|| levels.trailing_zeros() as u8)
}

#[cfg(test)]
mod tests;
