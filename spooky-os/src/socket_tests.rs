use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::Batch;

/// Two sockets that talk on loopback.
struct Pair {
    here: Socket,
    there: Socket,
    counters: IoCounters,
}

impl Pair {
    fn new(here: &str, there: &str) -> Self {
        let socket = |address: &str| {
            Socket::new(SocketId(0), UdpSocket::bind(address).expect("bind")).expect("socket")
        };
        Pair {
            here: socket(here),
            there: socket(there),
            counters: IoCounters::default(),
        }
    }

    fn send(&mut self, to: SocketAddr, segment_size: Option<usize>, bytes: &[u8]) -> Sent {
        let from = SocketAddr::from(([0, 0, 0, 0], 0));
        let transmit = Transmit {
            socket: SocketId(0),
            from,
            to,
            size: bytes.len(),
            segment_size,
        };
        self.here.send(&transmit, bytes, &mut self.counters)
    }
}

/// Everything that arrives until `count` datagrams are there: from, to, bytes.
fn receive(socket: &Socket, count: usize) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
    let mut batch = Batch::new();
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while all.len() < count {
        assert!(
            Instant::now() < end,
            "{} of {count} datagrams came",
            all.len()
        );
        match batch.receive(socket) {
            Ok(_) => {
                for message in batch.messages() {
                    for datagram in message.data.chunks(message.stride) {
                        all.push((message.from, message.to, datagram.to_vec()));
                    }
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    all
}

#[test]
fn segments_arrive_as_they_were_cut() {
    let mut pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    let to = pair.there.local_addr();
    // More than one system call may carry, and a short last one.
    let bytes: Vec<u8> = (0..1200 * 70 + 7).map(|i| (i / 1200) as u8).collect();
    assert_eq!(pair.send(to, Some(1200), &bytes), Sent::Yes);
    let got = receive(&pair.there, 71);
    assert_eq!(got.concat_bytes(), bytes);
    assert_eq!(got.last().map(|(_, _, bytes)| bytes.len()), Some(7));
    assert!(
        got.iter()
            .all(|(from, at, _)| *from == pair.here.local_addr() && *at == to)
    );
    assert_eq!(pair.counters, IoCounters::default());
}

#[test]
fn a_wildcard_socket_knows_where_it_was_asked_and_answers_from_there() {
    let pair = Pair::new("0.0.0.0:0", "127.0.0.1:0");
    let asked = SocketAddr::from(([127, 0, 0, 77], pair.here.local_addr().port()));
    let Pair {
        here: mut server,
        there: mut client,
        mut counters,
    } = pair;
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let question = Transmit {
        socket: SocketId(0),
        from: any,
        to: asked,
        size: 1,
        segment_size: None,
    };
    assert_eq!(client.send(&question, b"?", &mut counters), Sent::Yes);
    let got = receive(&server, 1);
    assert_eq!(got[0].1, asked);
    let answer = Transmit {
        socket: SocketId(0),
        from: got[0].1,
        to: got[0].0,
        size: 1,
        segment_size: None,
    };
    assert_eq!(server.send(&answer, b"!", &mut counters), Sent::Yes);
    assert_eq!(receive(&client, 1)[0].0, asked);
}

#[test]
fn ipv4_on_a_dual_stack_socket_looks_like_ipv4() {
    let dual = Socket::new(SocketId(0), UdpSocket::bind("[::]:0").expect("bind")).expect("socket");
    let mut pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    let to = SocketAddr::from(([127, 0, 0, 1], dual.local_addr().port()));
    assert_eq!(pair.send(to, None, b"four"), Sent::Yes);
    let got = receive(&dual, 1);
    assert_eq!((got[0].0, got[0].1), (pair.here.local_addr(), to));
    // And back, from the address that was asked, in segments.
    let client = std::mem::replace(&mut pair.here, dual);
    let transmit = Transmit {
        socket: SocketId(0),
        from: to,
        to: client.local_addr(),
        size: 8,
        segment_size: Some(4),
    };
    assert_eq!(
        pair.here.send(&transmit, b"backback", &mut pair.counters),
        Sent::Yes
    );
    let got = receive(&client, 2);
    assert!(
        got.iter()
            .all(|(from, _, bytes)| *from == to && bytes == b"back")
    );
}

#[test]
fn absence_of_a_peer_is_told_with_its_port() {
    for any in ["127.0.0.1:0", "[::]:0", "[::1]:0"] {
        if UdpSocket::bind(any).is_err() {
            // Containers often have no IPv6 loopback.
            assert_eq!(any, "[::1]:0");
            continue;
        }
        let mut pair = Pair::new(any, "127.0.0.1:0");
        let gone = match any {
            "[::1]:0" => UdpSocket::bind(any),
            _ => UdpSocket::bind("127.0.0.1:0"),
        };
        let gone = gone
            .and_then(|socket| socket.local_addr())
            .expect("an address nobody has");
        assert_eq!(pair.send(gone, None, b"anybody?"), Sent::Yes);
        let mut told = Vec::new();
        let end = Instant::now() + Duration::from_secs(5);
        while told.is_empty() && Instant::now() < end {
            assert!(!pair.here.unreachable(|to| told.push(to)));
        }
        assert_eq!(told, [gone], "from {any}");
    }
}

#[test]
fn late_news_of_one_peer_costs_another_peer_nothing() {
    let mut pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    let gone = UdpSocket::bind("127.0.0.1:0")
        .and_then(|s| s.local_addr())
        .expect("an address nobody has");
    let there = pair.there.local_addr();
    for _ in 0..20 {
        assert_eq!(pair.send(gone, None, b"anybody?"), Sent::Yes);
        assert_eq!(pair.send(there, None, b"hello"), Sent::Yes);
    }
    assert_eq!(receive(&pair.there, 20).len(), 20);
    assert!(pair.here.take_failed());
}

#[test]
fn an_impossible_address_does_not_take_segmentation_away() {
    let mut pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    let before = pair.here.max_segments();
    let port0 = SocketAddr::from(([127, 0, 0, 1], 0));
    assert_eq!(pair.send(port0, Some(4), b"onetwo"), Sent::Yes);
    assert_eq!(pair.counters.send_errors, 1);
    // Nothing can be sent from a broadcast address, but a question may come to one.
    let to = pair.there.local_addr();
    let from = SocketAddr::from(([255, 255, 255, 255], 0));
    for segment_size in [None, Some(4)] {
        let transmit = Transmit {
            socket: SocketId(0),
            from,
            to,
            size: 8,
            segment_size,
        };
        assert_eq!(
            pair.here.send(&transmit, b"fromfrom", &mut pair.counters),
            Sent::Yes
        );
    }
    assert_eq!(pair.counters.send_errors, 3);
    assert_eq!(pair.here.max_segments(), before);
    assert_eq!(pair.send(to, Some(4), b"goodgood"), Sent::Yes);
    assert_eq!(receive(&pair.there, 2).concat_bytes(), b"goodgood");
}

#[test]
fn an_empty_datagram_is_no_message() {
    let pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    pair.there
        .shared()
        .send_to(b"", pair.here.local_addr())
        .expect("send");
    pair.there
        .shared()
        .send_to(b"x", pair.here.local_addr())
        .expect("send");
    assert_eq!(receive(&pair.here, 1)[0].2, b"x");
    assert_eq!(
        Batch::new().receive(&pair.here).map_err(|e| e.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
}

#[test]
fn buffers_are_granted_up_to_what_the_system_allows() {
    let pair = Pair::new("127.0.0.1:0", "127.0.0.1:0");
    let asked = Buffers {
        receive: 64 * 1024,
        send: 96 * 1024,
    };
    assert_eq!(pair.here.resize_buffers(asked).expect("resize"), asked);
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|(_, _, bytes)| bytes.clone())
            .collect()
    }
}
