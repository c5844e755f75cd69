//! The message: what a head may say, what a gateway makes of it, and what Spooky
//! says itself.

mod date;
mod fields;
mod forward;
mod head;
mod priority;
mod reply;

pub use fields::Fields;
pub(crate) use forward::{Client, Forwarder};
pub(crate) use head::{Bounds, HeadError, Refused, ResponseHead, Trailers, parse_trailers};
pub use head::{Glimpse, RequestHead};
pub(crate) use priority::Priority;
pub(crate) use reply::{LocalReply, Signature};
