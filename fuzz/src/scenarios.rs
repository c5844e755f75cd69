//! Whole scenarios of the simulator: clients, backends, networks and faults, made
//! by the simulator's own generator, with the bytes of an input for dice.
//!
//! The first 8 bytes are the seed of what happens in it.

use spooky_tests::sim::{self, Counting, FaultKind, Link};

use crate::input::Input;

/// The simulator holds the balancer to its memory.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every promise of the simulator is kept.
pub fn scenarios(data: &[u8]) {
    let mut input = Input(data);
    let seed = u64::from_be_bytes(input.array());
    let mut scenario = sim::generate(seed, &mut Bytes(input));
    loses_what_it_alters(&mut scenario.client_link);
    loses_what_it_alters(&mut scenario.backend_link);
    let clients = scenario.clients.iter_mut().map(|client| &mut client.link);
    let backends = scenario
        .backends
        .iter_mut()
        .map(|backend| &mut backend.link);
    clients
        .chain(backends)
        .flatten()
        .for_each(loses_what_it_alters);
    for fault in &mut scenario.faults {
        if let FaultKind::Links { clients, backends } = &mut fault.what {
            loses_what_it_alters(clients);
            loses_what_it_alters(backends);
        }
    }
    if let Err(failure) = scenario.run()
        && failure.upstream().is_none()
    {
        panic!("{failure}\n{scenario:#?}");
    }
}

/// Here packets open whatever their tag says, so that nobody would notice an altered
/// one. Elsewhere it is as good as lost.
fn loses_what_it_alters(link: &mut Link) {
    link.loss += std::mem::take(&mut link.corrupts);
}

/// Dice that fall as an input says. Zeros follow it: of everything the least.
struct Bytes<'a>(Input<'a>);

impl sim::Dice for Bytes<'_> {
    fn below(&mut self, n: u64) -> u64 {
        let number = match n {
            0 => return 0,
            1..=0x100 => u64::from(self.0.byte()),
            0x101..=0x1_0000 => u64::from(u16::from_be_bytes(self.0.array())),
            0x1_0001.. => u64::from_be_bytes(self.0.array()),
        };
        number % n
    }
}

pub(crate) fn generate(dice: &mut crate::Dice) -> Vec<u8> {
    let len = 8 + dice.below(160);
    (0..len).map(|_| dice.byte()).collect()
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ];
    let made = |(index, name)| (name, generate(&mut crate::Dice::new(index)));
    let mut seeds: Vec<_> = (1..).zip(names).map(made).collect();
    seeds.push(("least", Vec::new()));
    seeds
}
