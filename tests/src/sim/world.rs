//! The clock and the entropy of one simulation: what the interposed functions of
//! `interpose.rs` answer with.
//!
//! Everything is in const-initialised cells of the thread, without destructors:
//! reading them allocates nothing and takes no lock, so it may happen inside
//! `clock_gettime`, `getrandom` or an allocator at any moment of a thread's life.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::interpose;
use super::rng::splitmix;

/// `CLOCK_MONOTONIC` at virtual time 0. Far from 0, so that an `Instant` minus
/// a duration never underflows.
const MONOTONIC_BASE: u64 = 1_000_000;
/// `CLOCK_REALTIME` at virtual time 0: 2026-01-01T00:00:00Z.
const REALTIME_BASE: u64 = 1_767_225_600;
/// Readings of the clock at one virtual moment: more is a loop that waits for it to move.
const READS_A_MOMENT: u64 = 20_000_000;

struct World {
    active: Cell<bool>,
    seed: Cell<u64>,
    now: Cell<u64>,
    entropy: Cell<u64>,
    draws: Cell<u64>,
    reads: Cell<u64>,
    reads_before: Cell<u64>,
}

thread_local! {
    static WORLD: World = const {
        World {
            active: Cell::new(false),
            seed: Cell::new(0),
            now: Cell::new(0),
            entropy: Cell::new(0),
            draws: Cell::new(0),
            reads: Cell::new(0),
            reads_before: Cell::new(0),
        }
    };
}

/// Whether this thread is simulated.
#[inline]
pub(crate) fn active() -> bool {
    WORLD.with(|w| w.active.get())
}

/// Seconds and nanoseconds of the virtual clock, if this thread has one.
#[inline]
pub(crate) fn clock(realtime: bool) -> Option<(u64, u64)> {
    WORLD.with(|w| {
        if !w.active.get() {
            return None;
        }
        w.reads.set(w.reads.get() + 1);
        if w.reads.get() - w.reads_before.get() > READS_A_MOMENT {
            interpose::forbidden(b"spinning on the clock, which only moves between events");
        }
        let now = w.now.get();
        let base = if realtime {
            REALTIME_BASE
        } else {
            MONOTONIC_BASE
        };
        Some((base + now / 1_000_000_000, now % 1_000_000_000))
    })
}

/// Fills `out` from this thread's entropy; false if the thread is not simulated.
#[inline]
pub(crate) fn entropy(out: &mut [u8]) -> bool {
    WORLD.with(|w| {
        if !w.active.get() {
            return false;
        }
        w.draws.set(w.draws.get() + 1);
        let mut state = w.entropy.get();
        for chunk in out.chunks_mut(8) {
            let bytes = splitmix(&mut state).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        w.entropy.set(state);
        true
    })
}

/// The seed of this thread's simulation.
pub(crate) fn seed() -> u64 {
    WORLD.with(|w| w.seed.get())
}

/// How often entropy was drawn: a part of the trace.
pub(crate) fn draws() -> u64 {
    WORLD.with(|w| w.draws.get())
}

/// Virtual nanoseconds since the simulation's start.
pub fn now() -> u64 {
    WORLD.with(|w| w.now.get())
}

/// Virtual time since the simulation's start.
pub fn elapsed() -> Duration {
    Duration::from_nanos(now())
}

/// Moves the clock. It does not go back.
pub fn set_now(now: u64) {
    WORLD.with(|w| {
        assert!(now >= w.now.get(), "virtual time does not go back");
        if now != w.now.get() {
            w.reads_before.set(w.reads.get());
        }
        w.now.set(now);
    });
}

/// Virtual nanoseconds of an `Instant` of this world.
pub(crate) fn nanoseconds(at: Instant) -> u64 {
    let present = Instant::now();
    let ahead = at.saturating_duration_since(present).as_nanos() as u64;
    let behind = present.saturating_duration_since(at).as_nanos() as u64;
    (now() + ahead).saturating_sub(behind)
}

/// Runs `f` on a thread of its own that lives in virtual time, with entropy from
/// `seed`. A panic of `f` goes on in the caller.
///
/// The fresh thread lets one process host many simulations: std's hash keys and
/// BoringSSL's generator belong to the thread and are seeded when first used. All
/// other threads keep real time and real randomness.
///
/// # Panics
/// If the interposition is not linked in, or does not hold.
pub fn isolated<T: Send>(seed: u64, f: impl FnOnce() -> T + Send) -> T {
    interpose::warm_up();
    enter(seed, f)
}

pub(crate) fn enter<T: Send>(seed: u64, f: impl FnOnce() -> T + Send) -> T {
    let run = || {
        WORLD.with(|w| {
            w.seed.set(seed);
            w.entropy.set(seed ^ 0x656e_7472_6f70_7921);
            w.active.set(true);
        });
        let out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        WORLD.with(|w| w.active.set(false));
        out
    };
    let out = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name(format!("simulation {seed}"))
            .stack_size(8 << 20)
            .spawn_scoped(scope, run)
            .expect("the system gives a thread")
            .join()
            .expect("panics were caught inside")
    });
    out.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
