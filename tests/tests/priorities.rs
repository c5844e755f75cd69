//! Whose response goes first on a client's connection (RFC 9218), through the whole
//! proxy. The pipe is the client's credit for the connection, 64 KiB.

use std::collections::BTreeMap;

use quiche::h3::{self, NameValue, Priority};
use spooky_core::observe::Outcome;
use spooky_tests::rig::{Options, Rig};

const PIPE: u64 = 64 << 10;

/// Downloads that never end by themselves, and what came of each.
struct Downloads {
    rig: Rig,
    /// Stream at the client → stream at the backend.
    streams: BTreeMap<u64, u64>,
    got: BTreeMap<u64, usize>,
}

impl Downloads {
    fn new() -> Downloads {
        Downloads {
            rig: Rig::new(Options {
                client: |c| {
                    c.set_initial_max_data(PIPE);
                    c.set_max_connection_window(PIPE);
                },
                ..Options::default()
            }),
            streams: BTreeMap::new(),
            got: BTreeMap::new(),
        }
    }

    /// Begins one, whose request has these fields and whose response those.
    fn begin(&mut self, request: &[(&str, &str)], response: &[(&str, &str)]) -> u64 {
        let stream = self.rig.request("GET", "/", request, true);
        self.rig.settle();
        let asked = self.rig.asked(0);
        self.rig.answer(0, asked, response, false);
        self.rig.settle();
        self.streams.insert(stream, asked);
        stream
    }

    /// Begins one with this `priority`.
    fn with(&mut self, priority: &str) -> u64 {
        self.begin(&[("priority", priority)], &[])
    }

    /// Begins some at once: the pipe is not full of the first before the last is there.
    fn together(&mut self, priorities: &[&str]) -> Vec<u64> {
        priorities.iter().map(|p| self.with(p)).collect()
    }

    /// Lets so many bytes pass, in steps of what the pipe holds, and returns what came
    /// on each stream meanwhile.
    fn pass(&mut self, bytes: usize) -> BTreeMap<u64, usize> {
        let before = self.got.clone();
        let mut total = 0;
        while total < bytes {
            for &asked in self.streams.values() {
                self.rig.connections[0]
                    .1
                    .write(asked, &[7; 128 << 10], false);
            }
            // The backends' part arrives whole, the client's is not read yet.
            self.rig.settle();
            let mut step = 0;
            for &stream in self.streams.keys() {
                let len = self.rig.client.read(stream, 1 << 20).len();
                *self.got.entry(stream).or_default() += len;
                step += len;
            }
            assert!(step > 0, "nothing moves: {:?}", self.got);
            total += step;
            self.rig.settle();
        }
        let came = self.got.iter().map(|(stream, now)| {
            let then = before.get(stream).copied().unwrap_or(0);
            (*stream, now - then)
        });
        came.collect()
    }

    fn update(&mut self, stream: u64, priority: &Priority) {
        let (h3, quic) = self.rig.client.http();
        h3.send_priority_update_for_request(quic, stream, priority)
            .expect("there is room");
        self.rig.settle();
    }
}

fn share(came: &BTreeMap<u64, usize>, stream: u64) -> f64 {
    let total: usize = came.values().sum();
    came[&stream] as f64 / total as f64
}

#[test]
fn equals_share_whatever_order_they_came_in() {
    let mut downloads = Downloads::new();
    let mut streams = vec![downloads.begin(&[], &[])];
    // The first has the whole pipe to itself for a while.
    downloads.pass(1 << 20);
    streams.extend(downloads.together(&["i", "u=3", ""]));
    downloads.pass(200_000);
    let came = downloads.pass(8 << 20);
    for stream in streams {
        let share = share(&came, stream);
        assert!((0.2..0.3).contains(&share), "{stream}: {share} of {came:?}");
    }
}

#[test]
fn a_small_urgent_response_overtakes_bulk() {
    let mut downloads = Downloads::new();
    let bulk = downloads.together(&["u=5", "u=5", ""]);
    downloads.pass(1 << 20);
    let urgent = downloads.with("u=0");
    let before: usize = bulk.iter().map(|s| downloads.got[s]).sum();
    let mut between = 0;
    while downloads.got.get(&urgent).copied().unwrap_or(0) < 300_000 {
        downloads.pass(1);
        between = bulk.iter().map(|s| downloads.got[s]).sum::<usize>() - before;
    }
    // What was in the pipe, and one turn in sixteen.
    let most = PIPE as usize + (300_000 + PIPE as usize) / 15 + 2 * 16_384;
    assert!(between < most, "{between} bytes of bulk, {most} expected");
}

#[test]
fn the_less_urgent_do_not_starve() {
    let mut downloads = Downloads::new();
    let streams = downloads.together(&["u=0", "u=7, i"]);
    downloads.pass(200_000);
    let came = downloads.pass(8 << 20);
    let share = share(&came, streams[1]);
    assert!((0.055..0.07).contains(&share), "{share}, not 1 in 16");
}

#[test]
fn one_that_is_of_no_use_in_parts_comes_before_its_equals() {
    let mut downloads = Downloads::new();
    let streams = downloads.together(&["", "i=?0", "i"]);
    downloads.pass(200_000);
    let came = downloads.pass(8 << 20);
    let share = share(&came, streams[1]);
    assert!((0.86..0.89).contains(&share), "{share}, not 7 in 8");
}

#[test]
fn an_update_changes_the_order_in_the_middle() {
    let mut downloads = Downloads::new();
    let streams = downloads.together(&["u=2", "u=2"]);
    downloads.pass(200_000);
    let equal = share(&downloads.pass(4 << 20), streams[0]);
    assert!((0.45..0.55).contains(&equal), "{equal}");
    downloads.update(streams[0], &Priority::new(6, true));
    downloads.pass(200_000);
    let less = share(&downloads.pass(4 << 20), streams[0]);
    assert!(less < 0.08, "{less}");
    downloads.update(streams[0], &Priority::new(0, true));
    downloads.pass(200_000);
    let more = share(&downloads.pass(4 << 20), streams[0]);
    assert!(more > 0.92, "{more}");
}

#[test]
fn an_update_may_come_before_its_request_and_overrides_its_field() {
    let mut downloads = Downloads::new();
    downloads.with("u=3");
    downloads.update(4, &Priority::new(7, true));
    downloads.update(4, &Priority::new(0, false));
    let stream = downloads.with("u=7");
    assert_eq!(stream, 4);
    downloads.pass(200_000);
    let share = share(&downloads.pass(4 << 20), stream);
    assert!(share > 0.92, "{share}");
}

#[test]
fn an_update_for_what_is_over_is_nobodys() {
    let mut downloads = Downloads::new();
    let stream = downloads.with("u=5");
    downloads.pass(100_000);
    let asked = downloads.streams.remove(&stream).expect("it was begun");
    assert_eq!(downloads.rig.connections[0].1.write(asked, b"", true), 0);
    for _ in 0..20 {
        downloads.rig.settle();
        downloads.rig.client.read(stream, 1 << 20);
    }
    assert_eq!(downloads.rig.records[0].outcome, Outcome::Complete);
    downloads.update(stream, &Priority::new(0, true));
    let next = downloads.with("");
    assert!(downloads.pass(1 << 20)[&next] > 0);
}

#[test]
fn thousands_of_updates_for_requests_that_never_come_are_forgotten() {
    let mut downloads = Downloads::new();
    for round in 0..3000_u64 {
        downloads.update(4 * (round % 100), &Priority::new((round % 8) as u8, true));
    }
    // What was said of the first is not known any more, and its field counts.
    let streams = downloads.together(&["u=3", "u=3"]);
    downloads.pass(200_000);
    let share = share(&downloads.pass(4 << 20), streams[0]);
    assert!((0.45..0.55).contains(&share), "{share}");
}

#[test]
fn the_backend_knows_better() {
    let mut downloads = Downloads::new();
    let plain = downloads.with("u=2");
    let lifted = downloads.begin(&[("priority", "u=7, i")], &[("priority", "u=1")]);
    downloads.pass(200_000);
    let share_of_lifted = share(&downloads.pass(4 << 20), lifted);
    assert!(share_of_lifted > 0.92, "{share_of_lifted}");
    // And the client has the last word.
    downloads.update(lifted, &Priority::new(2, true));
    downloads.pass(200_000);
    let share_of_plain = share(&downloads.pass(4 << 20), plain);
    assert!((0.45..0.55).contains(&share_of_plain), "{share_of_plain}");
}

#[test]
fn the_field_goes_on_as_it_is() {
    let mut downloads = Downloads::new();
    let lines = [("priority", "u=1, x;y=2"), ("priority", "i=?0 ?")];
    let stream = downloads.begin(&lines, &[("priority", "u=9")]);
    let fields = |peer: &spooky_tests::rig::Peer, stream: u64| {
        let list = peer.events.iter().find_map(|(s, event)| {
            let h3::Event::Headers { list, .. } = event else {
                return None;
            };
            (*s == stream).then(|| list.clone())
        });
        let list = list.expect("a head came").into_iter();
        let list = list.filter(|field| field.name() == b"priority");
        let list = list.map(|field| String::from_utf8_lossy(field.value()).into_owned());
        list.collect::<Vec<String>>()
    };
    let asked = downloads.streams[&stream];
    assert_eq!(
        fields(&downloads.rig.connections[0].1, asked),
        ["u=1, x;y=2", "i=?0 ?"]
    );
    assert_eq!(fields(&downloads.rig.client, stream), ["u=9"]);
}

#[test]
fn uploads_share_whatever_their_responses_are_worth() {
    let mut rig = Rig::new(Options {
        backend: |c| {
            c.set_initial_max_data(PIPE);
            c.set_max_connection_window(PIPE);
        },
        ..Options::default()
    });
    let streams: Vec<u64> = ["u=0", "u=7, i=?0"]
        .iter()
        .map(|p| rig.request("POST", "/", &[("priority", p)], false))
        .collect();
    rig.settle();
    let asked = rig.connections[0].1.streams_with_heads();
    let mut got = [0, 0];
    for _ in 0..100 {
        for &stream in &streams {
            rig.client.write(stream, &[7; 128 << 10], false);
        }
        rig.settle();
        for (at, &stream) in asked.iter().enumerate() {
            got[at] += rig.connections[0].1.read(stream, 1 << 20).len();
        }
        rig.settle();
    }
    let share = got[0] as f64 / (got[0] + got[1]) as f64;
    assert!((0.45..0.55).contains(&share), "{got:?}");
}
