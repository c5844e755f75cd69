//! What holds of the workspace itself, whatever the code does.

mod features;
mod purity;
mod requirements;
mod workspace;
