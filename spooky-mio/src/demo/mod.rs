//! `spooky demo`, and the parts of it that tests and the bench stand on.

pub mod backend;
pub mod identity;
pub mod pattern;
