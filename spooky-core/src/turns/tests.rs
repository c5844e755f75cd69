use super::*;

/// Streams that always have bytes, and a connection that has always room for them.
#[derive(Default)]
struct Pipe {
    turns: Turns<u64>,
    places: BTreeMap<u64, Place>,
    priorities: BTreeMap<u64, Priority>,
    /// Bytes each stream wrote.
    written: BTreeMap<u64, usize>,
    /// Streams in the order of their turns.
    order: Vec<u64>,
}

impl Pipe {
    fn of(streams: &[(u64, &str)]) -> Pipe {
        let mut pipe = Pipe::default();
        for &(stream, priority) in streams {
            pipe.join(stream, priority);
        }
        pipe
    }

    fn join(&mut self, stream: u64, priority: &str) {
        let priority = Priority::parse([priority.as_bytes()]);
        self.priorities.insert(stream, priority);
        if let Some(place) = self.places.remove(&stream) {
            assert!(self.turns.remove(place).is_some());
        }
        let place = self.turns.push(stream, stream, priority);
        self.places.insert(stream, place);
    }

    /// Lets one stream write, at most `room`, and wait again.
    fn turn(&mut self, room: usize) -> usize {
        let turn = self.turns.pop().expect("somebody waits");
        let bytes = turn.bytes.min(room);
        self.turns.spent(bytes);
        let priority = self.priorities[&turn.who];
        let place = self.turns.again(turn, bytes, turn.who, priority);
        self.places.insert(turn.who, place);
        *self.written.entry(turn.who).or_default() += bytes;
        self.order.push(turn.who);
        bytes
    }

    fn turns(&mut self, count: usize) -> &[u64] {
        let before = self.order.len();
        for _ in 0..count {
            self.turn(usize::MAX);
        }
        &self.order[before..]
    }

    fn leave(&mut self, stream: u64) {
        let place = self.places.remove(&stream).expect("it waits");
        assert_eq!(self.turns.remove(place).map(|t| t.who), Some(stream));
    }

    /// How many of the last turns were `stream`'s.
    fn count(turns: &[u64], stream: u64) -> usize {
        turns.iter().filter(|s| **s == stream).count()
    }
}

#[test]
fn equals_rotate_whether_they_say_i_or_nothing() {
    let mut pipe = Pipe::of(&[(0, ""), (4, "i"), (8, "u=3"), (12, "u=9, i")]);
    assert_eq!(pipe.turns(8), [0, 4, 8, 12, 0, 4, 8, 12]);
}

#[test]
fn a_turn_that_is_cut_short_goes_on_where_it_was() {
    let mut pipe = Pipe::of(&[(0, ""), (4, ""), (8, "")]);
    // The window opens wide and narrow in turns: 16 KiB, and a few bytes.
    for round in 0..3000 {
        let mut room = [TURN_BYTES, 100, 1][round % 3];
        while room > 0 {
            room -= pipe.turn(room);
        }
    }
    let (least, most) = (
        pipe.written.values().min().expect("three"),
        pipe.written.values().max().expect("three"),
    );
    assert!(most - least <= TURN_BYTES, "{:?}", pipe.written);
}

#[test]
fn the_more_urgent_come_first_and_leave_one_turn_in_sixteen() {
    let mut pipe = Pipe::of(&[(0, "u=5"), (4, "u=1"), (8, "u=1")]);
    let turns = pipe.turns(160);
    assert_eq!(turns[0], 4);
    assert_eq!(Pipe::count(turns, 0), 10);
    assert_eq!(Pipe::count(turns, 4), 75);
    pipe.leave(4);
    pipe.leave(8);
    assert_eq!(pipe.turns(3), [0, 0, 0]);
}

#[test]
fn a_turn_that_is_due_to_the_less_urgent_leaves_at_the_urgency_of_those_who_owe_it() {
    let mut pipe = Pipe::of(&[(0, "u=5"), (4, "u=1, i=?0")]);
    pipe.turns(15);
    let turn = pipe.turns.pop().expect("two wait");
    assert_eq!((turn.who, turn.level), (0, 1));
    pipe.turns.spent(TURN_BYTES);
    let turn = pipe.turns.pop().expect("one waits");
    assert_eq!((turn.who, turn.level), (4, 1));
    pipe.turns.spent(TURN_BYTES);
    let again = Priority::parse([&b"u=5"[..]]);
    pipe.turns.push(0, 0, again);
    assert_eq!(pipe.turns.pop().map(|t| t.level), Some(5), "alone now");
}

#[test]
fn no_urgency_starves() {
    let streams: Vec<(u64, String)> = (0..8).map(|u| (u * 4, format!("u={u}, i"))).collect();
    let streams: Vec<(u64, &str)> = streams.iter().map(|(s, p)| (*s, &p[..])).collect();
    let mut pipe = Pipe::of(&streams);
    let turns = pipe.turns(7 * 16 * 10);
    assert_eq!(Pipe::count(turns, 0), 15 * 7 * 10);
    for stream in 1..8 {
        assert_eq!(Pipe::count(turns, stream * 4), 10, "{stream}");
    }
}

#[test]
fn one_alone_leaves_its_equals_one_turn_in_eight() {
    let mut pipe = Pipe::of(&[(0, ""), (4, "i=?0"), (8, "i")]);
    let turns = pipe.turns(160);
    assert_eq!(turns[..9], [4, 4, 4, 4, 4, 4, 4, 0, 4]);
    assert_eq!(
        (Pipe::count(turns, 0), Pipe::count(turns, 8)),
        (10, 10),
        "they rotate"
    );
}

#[test]
fn those_alone_are_served_in_the_order_of_their_streams() {
    let mut pipe = Pipe::of(&[(8, "i=?0"), (0, "i=?0"), (4, "i=?0")]);
    let turns = pipe.turns(80);
    assert_eq!(
        (Pipe::count(turns, 0), Pipe::count(turns, 4)),
        (70, 10),
        "{turns:?}"
    );
    pipe.leave(0);
    let turns = pipe.turns(80);
    assert_eq!((Pipe::count(turns, 4), Pipe::count(turns, 8)), (70, 10));
    pipe.leave(4);
    assert_eq!(pipe.turns(2), [8, 8]);
}

#[test]
fn shares_are_counted_in_bytes_however_narrow_the_room() {
    let mut pipe = Pipe::of(&[(0, "u=6"), (4, "u=2"), (8, "u=2, i=?0")]);
    let mut total = 0;
    while total < 3200 * TURN_BYTES {
        total += pipe.turn(1 + total % 2500);
    }
    let share = |stream| pipe.written[&stream] as f64 / total as f64;
    assert!((share(0) - 1.0 / 16.0).abs() < 0.002, "{}", share(0));
    let alone = share(8) / (share(4) + share(8));
    assert!((alone - 7.0 / 8.0).abs() < 0.002, "{alone}");
}

#[test]
fn turns_are_not_saved_up() {
    let mut pipe = Pipe::of(&[(0, "u=0"), (4, "u=0, i=?0")]);
    pipe.leave(0);
    pipe.turns(1000);
    pipe.join(0, "u=0");
    pipe.join(8, "u=7");
    let turns = pipe.turns(7);
    assert_eq!(turns, [4; 7], "they wait as if nothing had been before");
}

#[test]
fn another_priority_counts_from_the_next_turn() {
    let mut pipe = Pipe::of(&[(0, ""), (4, ""), (8, "")]);
    assert_eq!(pipe.turns(2), [0, 4]);
    pipe.join(4, "u=0");
    assert_eq!(pipe.turns(3), [4, 4, 4]);
    pipe.join(4, "u=7");
    assert_eq!(pipe.turns(4), [8, 0, 8, 0]);
    pipe.join(0, "u=3, i=?0");
    assert_eq!(pipe.turns(4), [0, 0, 0, 0]);
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let mut pipe = Pipe::default();
    // Some in rotation, some alone, at every urgency; first, last and middle ones leave.
    let priority = |n: u64| ["u=0", "u=0, i=?0", "u=3", "u=7, i=?0", "i"][(n % 5) as usize];
    let count = 5000;
    (0..count).for_each(|n| pipe.join(n * 4, priority(n)));
    assert_eq!(pipe.turns.len(), count as usize);
    // Somebody who joins again and again stands in line once.
    (0..100_000).for_each(|n| pipe.join(0, priority(n)));
    assert_eq!(pipe.turns.len(), count as usize);
    pipe.turns(100);
    for n in (0..count).rev().step_by(2).chain((0..count).step_by(2)) {
        let place = pipe.places.remove(&(n * 4)).expect("it waits");
        assert!(pipe.turns.has(place, n * 4));
        pipe.turns.remove(place);
        assert!(!pipe.turns.has(place, n * 4));
    }
    assert_eq!(pipe.turns.len(), 0);
    assert!(pipe.turns.pop().is_none());
    assert_eq!((pipe.turns.rotating, pipe.turns.lone), (0, 0));
    assert!(pipe.turns.waiting.capacity() <= EMPTY_TABLE);
}

#[test]
fn a_turn_nobody_wrote_in_costs_nobody_anything() {
    let mut turns = Turns::default();
    let urgent = Priority::parse([&b"u=1"[..]]);
    let humble = Priority::parse([&b"u=6"[..]]);
    turns.push(1, 0, urgent);
    turns.push(2, 4, humble);
    // The urgent one is blocked each time: it leaves and comes back.
    for _ in 0..100 {
        assert_eq!(turns.pop().map(|t| t.who), Some(1));
        turns.spent(0);
        turns.push(1, 0, urgent);
    }
    assert_eq!(turns.len(), 2);
}
