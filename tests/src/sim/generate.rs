//! A random scenario: topology, load, networks and faults, weighted toward what
//! hurts.

use std::time::Duration;

use super::network::Link;
use super::plan::{
    BackendPlan, Behaviour, ClientPlan, Fault, FaultKind, Method, RequestPlan, Scenario,
};
use super::rng::Dice;

/// How much there is of everything.
struct Size {
    clients: u64,
    requests: u64,
    bytes: u64,
}

/// Sizes, small ones most often: they are quick, and most mistakes need little.
const SIZES: [(u64, Size); 4] = [
    (
        60,
        Size {
            clients: 3,
            requests: 5,
            bytes: 40_000,
        },
    ),
    (
        25,
        Size {
            clients: 8,
            requests: 8,
            bytes: 100_000,
        },
    ),
    (
        10,
        Size {
            clients: 2,
            requests: 4,
            bytes: 1_500_000,
        },
    ),
    (
        5,
        Size {
            clients: 40,
            requests: 6,
            bytes: 20_000,
        },
    ),
];

/// The scenario that `dice` make; `seed` decides all that happens in it.
pub fn generate(seed: u64, dice: &mut dyn Dice) -> Scenario {
    let weights: Vec<u64> = SIZES.iter().map(|(weight, _)| *weight).collect();
    let (_, size) = &SIZES[dice.weighted(&weights)];
    let until = Duration::from_millis(dice.between(3_000, 40_000));
    let clients = dice.between(1, size.clients);
    let backends = dice.between(1, 4);
    // Half of all worlds are of good will, so that one misfortune can be seen alone.
    let misbehaves = dice.percent(50);
    let mut backends: Vec<_> = (0..backends).map(|_| backend(dice)).collect();
    if backends.iter().all(|backend| backend.weight == 0) {
        backends[0].weight = 100; // a configuration asks for one
    }
    let mut scenario = Scenario {
        seed,
        config: config(dice),
        workers: if dice.percent(25) {
            dice.between(2, 4) as u32
        } else {
            1
        },
        segments: [1, 8, 64][dice.below(3) as usize],
        turn: Duration::from_micros([0, 0, 50, 1_000][dice.below(4) as usize]),
        blocked: [0, 0, 0, 100_000][dice.below(4) as usize],
        clients: (0..clients)
            .map(|_| client(dice, size, until, misbehaves))
            .collect(),
        names: 0,
        client_link: link(dice),
        backend_link: if dice.percent(50) {
            Link::rack()
        } else {
            link(dice)
        },
        faults: faults(dice, clients, backends.len() as u64, until),
        backends,
        until,
        kept: None,
    };
    // Somebody has a worse road than the others, or a better one.
    for client in &mut scenario.clients {
        client.link = dice.percent(10).then(|| link(dice));
    }
    for backend in &mut scenario.backends {
        backend.link = dice.percent(10).then(|| link(dice));
    }
    // Up to 12 kB of certificate.
    scenario.names = if dice.percent(20) {
        dice.between(1, 300) as u32
    } else {
        0
    };
    scenario
}

fn client(dice: &mut dyn Dice, size: &Size, until: Duration, misbehaves: bool) -> ClientPlan {
    let count = dice.between(1, size.requests);
    let span = until.as_millis() as u64;
    // All at once, or spread over the time there is.
    let spread = [0, 200, span / 2, span][dice.below(4) as usize];
    let mut times: Vec<u64> = (0..count).map(|_| dice.below(spread + 1)).collect();
    times.sort_unstable();
    let requests = times
        .into_iter()
        .map(|at| request(dice, size, Duration::from_millis(at), misbehaves));
    ClientPlan {
        requests: requests.collect(),
        start: Duration::from_millis(
            [0, dice.below(100), dice.below(span)][dice.below(3) as usize],
        ),
        window: [2_000, 16_000, 256_000, 1 << 20][dice.below(4) as usize],
        reads: dice
            .percent(15)
            .then(|| [1, 50, 500][dice.below(3) as usize]),
        resumes: dice.percent(30),
        early: dice.percent(50),
        vanishes: dice.percent(20),
        link: None,
    }
}

fn request(dice: &mut dyn Dice, size: &Size, at: Duration, misbehaves: bool) -> RequestPlan {
    let method = [
        Method::Get,
        Method::Head,
        Method::Put,
        Method::Post,
        Method::Connect,
    ];
    let method = method[dice.weighted(&[45, 5, 15, 30, 5])];
    let uploads = match method {
        Method::Put | Method::Post | Method::Connect => dice.percent(90),
        Method::Get | Method::Head => dice.percent(3),
    };
    RequestPlan {
        at,
        method,
        upload: if uploads { bytes(dice, size) } else { 0 },
        announced: dice.percent(70),
        stalls: uploads && misbehaves && dice.percent(10),
        padding: [0, 0, 0, 1_000, 8_000][dice.below(5) as usize],
        cancelled: dice.percent(12).then(|| {
            Duration::from_millis([dice.below(50), dice.below(3_000)][dice.below(2) as usize])
        }),
        download: bytes(dice, size),
        asks: behaviour(dice, misbehaves),
        priority: dice.percent(25).then(|| {
            let urgency = dice.below(9);
            let incremental = ["", ", i", ", i=?0"][dice.below(3) as usize];
            format!("u={urgency}{incremental}")
        }),
    }
}

fn bytes(dice: &mut dyn Dice, size: &Size) -> u64 {
    let small = dice.below(2_000);
    let any = dice.below(size.bytes);
    [0, 1, small, any, size.bytes][dice.weighted(&[10, 5, 40, 35, 10])]
}

fn behaviour(dice: &mut dyn Dice, misbehaves: bool) -> Behaviour {
    let slow = Behaviour::Slow([20, 500, 5_000][dice.below(3) as usize]);
    let good = [
        Behaviour::Answer,
        Behaviour::Stream,
        Behaviour::Early,
        slow,
        Behaviour::Hints,
        Behaviour::Trailers,
    ];
    let bad = [
        Behaviour::Silent,
        Behaviour::ResetMidway,
        Behaviour::StallMidway,
        Behaviour::TooShort,
        Behaviour::TooLong,
        Behaviour::Reject,
        Behaviour::Malformed,
        Behaviour::CloseMidway,
    ];
    if misbehaves && dice.percent(40) {
        bad[dice.below(bad.len() as u64) as usize]
    } else {
        good[dice.weighted(&[50, 15, 10, 10, 5, 10])]
    }
}

fn backend(dice: &mut dyn Dice) -> BackendPlan {
    BackendPlan {
        weight: [100, 100, 1, 0][dice.weighted(&[70, 10, 15, 5])],
        thinks: Duration::from_millis([0, 5, 200][dice.below(3) as usize]),
        streams: [100, 4, 1][dice.weighted(&[60, 25, 15])],
        window: [256_000, 16_000, 2_000][dice.below(3) as usize],
        leaves_after: dice.percent(15).then(|| [1, 3, 10][dice.below(3) as usize]),
        absent: dice.percent(5),
        link: None,
    }
}

fn link(dice: &mut dyn Dice) -> Link {
    let base = [Link::clean(), Link::lossy(), Link::rack()][dice.below(3) as usize].clone();
    if dice.percent(40) {
        return base;
    }
    Link {
        latency: Duration::from_micros([50, 5_000, 80_000][dice.below(3) as usize]),
        jitter: Duration::from_millis([0, 1, 30][dice.below(3) as usize]),
        loss: [0, 5_000, 50_000, 200_000][dice.weighted(&[40, 30, 20, 10])],
        duplicates: [0, 10_000, 200_000][dice.weighted(&[60, 30, 10])],
        reorders: [0, 20_000, 300_000][dice.weighted(&[60, 30, 10])],
        corrupts: [0, 10_000, 100_000][dice.weighted(&[70, 20, 10])],
        mtu: [1500, 1500, 1280, 1200][dice.below(4) as usize],
        bandwidth: [None, Some(5_000_000), Some(200_000)][dice.weighted(&[60, 25, 15])],
        ..base
    }
}

fn faults(dice: &mut dyn Dice, clients: u64, backends: u64, until: Duration) -> Vec<Fault> {
    let count = [0, 1, 3, 8][dice.weighted(&[30, 30, 30, 10])];
    let span = until.as_millis() as u64;
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = Duration::from_millis(dice.below(span));
        let client = dice.below(clients) as u32;
        let backend = dice.below(backends) as u32;
        // What breaks is mended after a while, most often.
        let mended = at + Duration::from_millis(dice.between(10, 8_000));
        let (what, mend) = match dice.weighted(&[20, 10, 12, 8, 20, 10, 5, 10, 5]) {
            0 => {
                let refuses = dice.percent(50);
                (
                    FaultKind::Crash { backend, refuses },
                    Some(FaultKind::Restart { backend }),
                )
            }
            1 => (FaultKind::Goaway { backend }, None),
            2 => (FaultKind::CutOffBackend { backend }, Some(FaultKind::Heal)),
            3 => (FaultKind::CutOffClient { client }, Some(FaultKind::Heal)),
            4 => (FaultKind::Rebind { client }, None),
            5 => (FaultKind::Migrate { client }, None),
            6 => (FaultKind::Unreachable { backend }, None),
            7 => {
                let (clients, backends) = (link(dice), link(dice));
                (FaultKind::Links { clients, backends }, None)
            }
            _ => {
                let within = Duration::from_millis(dice.between(0, 5_000));
                (FaultKind::Drain { within }, None)
            }
        };
        faults.push(Fault { at, what });
        if let Some(what) = mend.filter(|_| dice.percent(85)) {
            faults.push(Fault { at: mended, what });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Sections of the configuration, each on a line of its own, each there or not.
fn config(dice: &mut dyn Dice) -> String {
    let mut lines = Vec::new();
    if dice.percent(40) {
        let max = [1, 2, 64][dice.below(3) as usize];
        let requests = [1, 3, 1024][dice.weighted(&[15, 25, 60])];
        let pending = [0, 2, 1024][dice.weighted(&[15, 25, 60])];
        let wait = ["50ms", "1s", "10s"][dice.below(3) as usize];
        let min_idle = [0, 1][dice.weighted(&[80, 20])];
        let idle = ["100ms", "5s", "60s"][dice.below(3) as usize];
        lines.push(format!(
            "connections: {{ max: {max}, max_requests: {requests}, max_pending: {pending}, \
             queue_timeout: {wait}, min_idle: {min_idle}, idle_timeout: {idle} }}"
        ));
    }
    if dice.percent(40) {
        let streams = [1, 3, 100][dice.below(3) as usize];
        let (window, all) =
            [("1KiB", "1MiB"), ("16KiB", "8MiB"), ("256KiB", "64MiB")][dice.below(3) as usize];
        let idle = ["2s", "10s", "30s"][dice.below(3) as usize];
        lines.push(format!(
            "quic: {{ max_streams: {streams}, stream_window: {window}, \
             connection_window: {all}, idle_timeout: {idle} }}"
        ));
    }
    if dice.percent(40) {
        let connect = ["300ms", "2s", "5s"][dice.below(3) as usize];
        let head = ["400ms", "3s", "30s"][dice.below(3) as usize];
        let idle = ["300ms", "3s", "60s"][dice.weighted(&[20, 30, 50])];
        let request = ["0s", "500ms", "8s"][dice.weighted(&[60, 15, 25])];
        lines.push(format!(
            "timeouts: {{ connect: {connect}, response_header: {head}, idle: {idle}, \
             request: {request} }}"
        ));
    }
    if dice.percent(25) {
        let heads = ["4KiB", "32KiB"][dice.below(2) as usize];
        let bodies = ["0", "1", "1000", "30000"][dice.weighted(&[50, 10, 20, 20])];
        let resets = [1000, 1, 3][dice.weighted(&[50, 20, 30])];
        lines.push(format!(
            "limits: {{ header_bytes: {heads}, body_bytes: {bodies}, \
             resets_per_connection: {resets} }}"
        ));
    }
    lines.join("\n")
}
