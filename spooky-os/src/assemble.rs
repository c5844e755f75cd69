//! From a `Setup` and bound sockets to workers.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rand::TryRng;
use rand::rngs::SysRng;
use spooky_core::{Params, Setup, Shared};

use crate::listen::names;
use crate::mail::{LastReports, Letterbox, Slot, letterbox};
use crate::{BindError, Control, Observe, Socket, Wake, Worker};

/// The workers could not be made.
#[derive(Debug)]
pub enum StartError {
    /// The listener could not be bound.
    Bind(BindError),
    /// The system lacks something else.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        StartError::Bind(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::System(error)
    }
}

/// Makes the workers of a server and the control over them.
///
/// `sockets` come from [`crate::bind`], one list a worker, and `wakes` has one
/// waker for each. There is at least one worker, and every one has a listener.
pub fn assemble(
    setup: Setup,
    sockets: Vec<Vec<Socket>>,
    wakes: Vec<Wake>,
    observe: &Observe,
) -> Result<(Vec<Worker>, Control), StartError> {
    assert_eq!(sockets.len(), wakes.len(), "every worker has a waker");
    let setup = Arc::new(setup);
    let shared = Shared::new(&setup, sockets.len(), seed()?);
    let (slots, letterboxes): (Vec<Slot>, Vec<Letterbox>) =
        wakes.into_iter().map(letterbox).unzip();
    let slots: Arc<[Slot]> = slots.into();
    let last: LastReports = Arc::new(Mutex::new(vec![None; slots.len()]));
    let local_addr = sockets
        .first()
        .and_then(|worker| worker.first())
        .expect("there is a worker, and it has a listener")
        .local_addr();
    let mut workers = Vec::with_capacity(slots.len());
    for (worker, (sockets, letterbox)) in sockets.into_iter().zip(letterboxes).enumerate() {
        let params = Params {
            setup: Arc::clone(&setup),
            shared: Arc::clone(&shared),
            worker,
            seed: seed()?,
            wall: SystemTime::now(),
            sockets: names(&sockets).expect("every worker has a listener"),
        };
        let mail = (Arc::clone(&slots), Arc::clone(&last));
        workers.push(Worker::new(
            params,
            sockets,
            letterbox,
            mail,
            Arc::clone(observe),
        ));
    }
    Ok((
        workers,
        Control {
            slots,
            last,
            clients: shared.clients(),
            local_addr,
        },
    ))
}

/// Randomness for keys. The core takes it from here and nowhere else.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}
