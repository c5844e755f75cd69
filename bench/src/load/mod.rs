//! The load: many connections, many streams, one URL.

mod peer;
mod tally;
mod worker;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use spooky_mio::client::{Target, Trust};

pub use tally::Tally;
use worker::Worker;

use crate::{cpu, memory};

/// What to ask, how much at once, how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The URL.
    pub target: Target,
    /// Whether its certificate is believed.
    pub trust: Trust,
    /// Connections in all, shared out among the threads.
    pub connections: usize,
    /// Requests at once on each; with none, handshakes are what is counted.
    pub streams: usize,
    /// Each connection is closed as soon as its handshake is complete, and made anew.
    pub only_handshakes: bool,
    /// What comes before the window, and is not counted.
    pub warm_up: Duration,
    /// The measured window.
    pub duration: Duration,
    /// Threads of the generator.
    pub threads: usize,
    /// The process whose processor time is taken.
    pub pid: Option<u32>,
}

/// When what happens counts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its first moment.
    pub from: Instant,
    /// The first moment after it.
    pub to: Instant,
}

/// What came of a [`Plan`].
#[derive(Debug)]
pub struct Outcome {
    /// What was counted.
    pub tally: Tally,
    /// The window's length.
    pub window: Duration,
    /// Processor time of the process asked for, within the window.
    pub cpu: Option<Duration>,
    /// Bytes of memory that it has more at the window's end than before all began.
    pub grown: Option<u64>,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let peer = plan
        .target
        .resolve()
        .map_err(|error| error.to_string())?
        .into_iter()
        .next()
        .ok_or_else(|| format!("{} has no address", plan.target.host))?;
    let before = memory(plan.pid)?;
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let from = Instant::now() + plan.warm_up;
    let window = Window {
        from,
        to: from + plan.duration,
    };
    let workers = (0..threads)
        .map(|index| {
            start(
                plan,
                peer,
                window,
                share(plan.connections, threads, index),
                index,
            )
        })
        .collect::<Result<Vec<_>, String>>()?;
    let cpu = measure(plan.pid, window);
    let after = memory(plan.pid)?;
    let mut tally = Tally::default();
    for worker in workers {
        let part = worker.join().map_err(|_| "a generator thread panicked")??;
        tally.add(&part);
    }
    Ok(Outcome {
        tally,
        window: plan.duration,
        cpu: cpu?,
        grown: before.zip(after).map(|(b, a)| a.saturating_sub(b)),
    })
}

fn memory(pid: Option<u32>) -> Result<Option<u64>, String> {
    pid.map(memory::resident)
        .transpose()
        .map_err(|error| format!("memory: {error}"))
}

/// How many of `all` fall to the `index`th of `parts`.
fn share(all: usize, parts: usize, index: usize) -> usize {
    all / parts + usize::from(index < all % parts)
}

fn start(
    plan: &Plan,
    peer: SocketAddr,
    window: Window,
    connections: usize,
    index: usize,
) -> Result<thread::JoinHandle<Result<Tally, String>>, String> {
    let plan = Plan {
        connections,
        ..plan.clone()
    };
    thread::Builder::new()
        .name(format!("load-{index}"))
        .spawn(move || Worker::new(&plan, peer, window)?.run())
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// Sleeps through the window, and reads the process's time at both ends of it.
fn measure(pid: Option<u32>, window: Window) -> Result<Option<Duration>, String> {
    let Some(pid) = pid else {
        return Ok(None);
    };
    let read = || cpu::spent(pid).map_err(|error| format!("process {pid}: {error}"));
    thread::sleep(window.from.saturating_duration_since(Instant::now()));
    let before = read()?;
    thread::sleep(window.to.saturating_duration_since(Instant::now()));
    Ok(Some(read()?.saturating_sub(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (all, parts) in [(32, 3), (1, 1), (7, 7), (100, 8)] {
            let sum: usize = (0..parts).map(|index| share(all, parts, index)).sum();
            assert_eq!(sum, all);
        }
    }
}
