//! Policies that pick a backend, one file each.

mod random;

pub(crate) use random::Random;
