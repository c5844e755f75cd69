//! A broken promise, and how it came to that.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::Once;
use std::time::Duration;

use super::network::PacketFault;
use super::scheduler::Wires;
use super::world;

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the scenario.
    pub seed: u64,
    /// The event during which it failed.
    pub step: u64,
    /// When, in virtual time.
    pub at: Duration,
    /// The sentence of the assertion that failed.
    pub what: String,
    /// The line of the code it stands in: two failures of one place are one kind.
    pub place: String,
    /// The last actions, one a line.
    pub actions: String,
    /// Harm the network had done.
    pub faults: Vec<PacketFault>,
}

impl Failure {
    pub(crate) fn new(seed: u64, step: u64, wires: &Wires, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Failure {
            seed,
            step,
            at: world::elapsed(),
            what: text.unwrap_or("a panic without words").to_owned(),
            place: PLACE.with(|place| place.borrow().clone()),
            actions: wires.trace.last(),
            faults: wires.faults().to_vec(),
        }
    }
}

/// Mistakes of quiche that a run cannot go on after, and that do no harm where
/// overflow is not checked, as in the daemon: words, place, what it is.
const UPSTREAM: [(&str, &str, &str); 1] = [(
    "attempt to add with overflow",
    "core/src/iter/traits/accum.rs",
    "quiche 0.30 adds up the windows of all paths, one of which is without bound while it probes",
)];

impl Failure {
    /// If it is a known mistake of quiche: which.
    pub fn upstream(&self) -> Option<&'static str> {
        UPSTREAM
            .iter()
            .find(|(what, place, _)| self.what == *what && self.place.contains(place))
            .map(|(_, _, which)| *which)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}, step {}, {:.6} s: {}\n  at {}\nthe last actions:\n{}",
            self.seed,
            self.step,
            self.at.as_secs_f64(),
            self.what,
            self.place,
            self.actions
        )
    }
}

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of a simulation are kept for its failure; all others are printed as ever.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !world::active() {
                before(info);
                return;
            }
            let place = info.location().map(ToString::to_string);
            PLACE.with(|slot| *slot.borrow_mut() = place.unwrap_or_default());
        }));
    });
}
