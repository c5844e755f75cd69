//! The message: what a head may say, and what Spooky says itself. No state.

mod fields;
mod head;
mod priority;
mod reply;

pub use fields::Fields;
pub use head::RequestHead;
pub(crate) use head::{HeadError, ResponseHead, check_trailers};
pub(crate) use priority::Priority;
pub(crate) use reply::LocalReply;
