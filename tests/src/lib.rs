//! What the tests of the whole are built from.

pub mod rig;
