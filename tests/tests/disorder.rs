//! Requests, bodies, resets and goodbyes in any order: everything ends, once.

use std::time::Duration;

use quiche::Shutdown;
use quiche::h3::Header;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spooky_tests::rig::{Options, Rig};

#[test]
fn every_request_ends_once_in_any_disorder() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..60).for_each(|_| world.step());
        world.finish();
    }
}

/// About three seconds.
const SEEDS: u64 = 60;

struct World {
    rig: Rig,
    rng: StdRng,
    seed: u64,
    streams: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let options = Options {
            backends: 2,
            client: |c| c.set_initial_max_stream_data_bidi_local(20_000),
            backend: |c| {
                c.set_initial_max_data(60_000);
                c.set_initial_max_stream_data_bidi_remote(20_000);
                c.set_initial_max_streams_bidi(5);
            },
            config: "connections: { max: 3, max_pending: 5 }\n",
            ..Options::default()
        };
        World {
            rig: Rig::new(options),
            rng: StdRng::seed_from_u64(seed),
            seed,
            streams: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0 | 1 => self.request(),
            2 => self.client_writes(),
            3 => self.client_reads(),
            4 => self.client_gives_up(),
            5 | 6 => self.backend_answers(),
            7 => self.backend_reads(),
            8 => self.backend_ends(),
            9 => {
                self.rig.from_client();
            }
            10 => {
                self.rig.from_backends();
            }
            _ => self.rig.settle(),
        }
        if self.rng.random_bool(0.02) {
            self.lose();
        }
        if self.rng.random_bool(0.3) {
            self.rig.run();
        }
    }

    fn request(&mut self) {
        let fin = self.rng.random_bool(0.5);
        let (h3, quic) = self.rig.client.http();
        let plain = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/"),
        ];
        let fields = plain.map(|(n, v)| Header::new(n.as_bytes(), v.as_bytes()));
        // The client may be out of credit, or told to leave.
        if let Ok(stream) = h3.send_request(quic, &fields, fin) {
            self.streams.push(stream);
        }
    }

    /// What somebody has to send is lost.
    fn lose(&mut self) {
        let count = self.rig.connections.len();
        match self.rng.random_range(0..3) {
            0 => drop(self.rig.client.datagrams()),
            1 if count > 0 => {
                let connection = self.rng.random_range(0..count);
                let peer = &mut self.rig.connections[connection].1;
                // A goodbye is said once. Without it, only silence tells.
                if peer.quic.local_error().is_none() {
                    drop(peer.datagrams());
                }
            }
            _ => {
                self.rig.deaf = true;
                self.rig.run();
                self.rig.deaf = false;
            }
        }
    }

    fn a_stream(&mut self) -> Option<u64> {
        let count = self.streams.len();
        (count > 0).then(|| self.streams[self.rng.random_range(0..count)])
    }

    /// A request that a backend has, open or not any more.
    fn asked(&mut self) -> Option<(usize, u64)> {
        let heads: Vec<(usize, u64)> = (0..self.rig.connections.len())
            .flat_map(|c| {
                self.rig.connections[c]
                    .1
                    .streams_with_heads()
                    .into_iter()
                    .map(move |s| (c, s))
            })
            .collect();
        (!heads.is_empty()).then(|| heads[self.rng.random_range(0..heads.len())])
    }

    fn size(&mut self) -> usize {
        [0, 1, 100, 5_000, 16_383, 30_000][self.rng.random_range(0..6)]
    }

    fn client_writes(&mut self) {
        let (size, fin) = (self.size(), self.rng.random_bool(0.3));
        if let Some(stream) = self.a_stream() {
            self.rig.client.write(stream, &vec![1; size], fin);
        }
    }

    fn client_reads(&mut self) {
        let size = self.size() + 1;
        if let Some(stream) = self.a_stream() {
            self.rig.client.read(stream, size);
        }
    }

    fn client_gives_up(&mut self) {
        let way = self.rng.random_range(0..3);
        if let Some(stream) = self.a_stream() {
            shut(&mut self.rig.client.quic, stream, way, 0x10c);
        }
    }

    fn backend_answers(&mut self) {
        let (size, fin, trailers) = (
            self.size(),
            self.rng.random_bool(0.4),
            self.rng.random_bool(0.1),
        );
        let Some((connection, stream)) = self.asked() else {
            return;
        };
        let peer = &mut self.rig.connections[connection].1;
        let (h3, quic) = peer.http();
        let _ = h3.send_response(quic, stream, &[Header::new(b":status", b"200")], false);
        if trailers {
            let _ =
                h3.send_additional_headers(quic, stream, &[Header::new(b"x", b"y")], true, true);
        } else {
            peer.write(stream, &vec![2; size], fin);
        }
    }

    fn backend_reads(&mut self) {
        let size = self.size() + 1;
        if let Some((connection, stream)) = self.asked() {
            self.rig.connections[connection].1.read(stream, size);
        }
    }

    fn backend_ends(&mut self) {
        let way = self.rng.random_range(0..8);
        let code = [0x10b, 0x100, 0x102][self.rng.random_range(0..3)];
        let Some((connection, stream)) = self.asked() else {
            return;
        };
        let peer = &mut self.rig.connections[connection].1;
        match way {
            0 => {
                let (h3, quic) = peer.http();
                let _ = h3.send_goaway(quic, stream);
            }
            1 => {
                let _ = peer.quic.close(true, 0x100, b"");
            }
            _ => shut(&mut peer.quic, stream, way % 3, code),
        }
    }

    /// All of both sides say and read all that they have to; then nothing may be open.
    fn finish(&mut self) {
        self.end_all(10);
        // Those that wait for a place are told that there is none …
        self.rig.skip(Duration::from_millis(1100));
        // … and what was lost on its way here begins only now.
        self.end_all(0);
        self.rig.proxy.check_invariants();
        let snapshot = self.rig.proxy.snapshot();
        assert_eq!(snapshot.exchanges, 0, "seed {}: {snapshot:?}", self.seed);
        assert_eq!(
            snapshot.counters.requests,
            self.rig.records.len() as u64,
            "seed {}",
            self.seed
        );
        for backend in &snapshot.backends {
            assert_eq!(
                (backend.requests, backend.pending),
                (0, 0),
                "seed {}",
                self.seed
            );
        }
        if self.seed.is_multiple_of(20) {
            self.leave();
        }
    }

    /// Goes on until nothing is open, at least for so many rounds. What was lost
    /// is sent again in its own time.
    fn end_all(&mut self, least: usize) {
        for round in 0..100 {
            if round >= least && self.rig.proxy.snapshot().exchanges == 0 {
                return;
            }
            self.say_all();
            self.rig.settle();
            if round >= least {
                self.rig.pass(Duration::from_millis(20));
            }
        }
    }

    /// Whoever has something open ends it, and reads all that there is.
    fn say_all(&mut self) {
        for index in 0..self.streams.len() {
            let stream = self.streams[index];
            self.rig.client.write(stream, b"", true);
            self.rig.client.read(stream, 100_000);
        }
        for (_, peer) in &mut self.rig.connections {
            for stream in peer.streams_with_heads() {
                let (h3, quic) = peer.http();
                let _ = h3.send_response(quic, stream, &[Header::new(b":status", b"200")], false);
                peer.write(stream, b"", true);
                peer.read(stream, 100_000);
            }
        }
    }

    /// Drained, nothing of anybody is left.
    fn leave(&mut self) {
        let now = self.rig.now();
        self.rig.proxy.drain(now + Duration::from_millis(300), now);
        // A connection that measured long round trips, or none, is remembered for
        // seconds: three probe timeouts.
        let end = now + Duration::from_secs(20);
        while !self.rig.proxy.is_empty() && self.rig.now() < end {
            self.rig.pass(Duration::from_millis(100));
        }
        assert!(self.rig.drained, "seed {}", self.seed);
        assert!(self.rig.proxy.is_empty(), "seed {}", self.seed);
    }
}

/// Ends reading, writing or both.
fn shut(quic: &mut quiche::Connection, stream: u64, way: u32, code: u64) {
    if way != 0 {
        let _ = quic.stream_shutdown(stream, Shutdown::Read, code);
    }
    if way != 1 {
        let _ = quic.stream_shutdown(stream, Shutdown::Write, code);
    }
}
