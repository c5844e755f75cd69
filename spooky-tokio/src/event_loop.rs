//! How a worker waits: readiness from tokio's reactor.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use spooky_os::{Socket, Worker};
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::{task, time};

/// Runs `worker` until it has drained or was stopped.
pub(crate) async fn run(mut worker: Worker, letters: Arc<Notify>) -> io::Result<()> {
    let mut readiness = Readiness::new(&worker)?;
    let mut full: Option<Full> = None;
    loop {
        worker.turn();
        if worker.ended() {
            return Ok(());
        }
        full = match worker.blocked() {
            Some(socket) => Some(match full.take() {
                Some(full) if full.socket == socket => full,
                Some(_) | None => Full::new(&worker, socket)?,
            }),
            None => None,
        };
        let deadline = worker.deadline();
        if deadline <= Instant::now() {
            // However busy this worker is, other tasks get their turn, and the
            // reactor looks at the other sockets.
            task::yield_now().await;
        }
        tokio::select! {
            ready = readiness.next() => {
                for (socket, ready) in ready? {
                    if ready.is_readable() {
                        worker.ready(socket);
                    }
                    if ready.is_error() {
                        worker.failed(socket);
                    }
                }
            }
            writable = writable(full.as_ref()) => {
                writable?;
                full = None;
            }
            () = letters.notified() => {}
            () = time::sleep_until(deadline.into()) => {}
        }
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<Ready>> + Send>>;

/// Waits for any of a worker's sockets to have something to read.
struct Readiness {
    sockets: Vec<(Arc<UdpSocket>, Waiting)>,
}

impl Readiness {
    fn new(worker: &Worker) -> io::Result<Self> {
        let watch = |socket| {
            let socket = Arc::new(registered(socket)?);
            let waiting = waiting(&socket);
            Ok((socket, waiting))
        };
        Ok(Readiness {
            sockets: worker.sockets().map(watch).collect::<io::Result<_>>()?,
        })
    }

    /// The sockets that became ready, with what they are ready for. Each has to be
    /// read until it is empty, or it will not be told of again.
    async fn next(&mut self) -> io::Result<Vec<(usize, Ready)>> {
        poll_fn(|context| {
            let mut found = Vec::new();
            for (index, (socket, wait)) in self.sockets.iter_mut().enumerate() {
                if let Poll::Ready(ready) = wait.as_mut().poll(context) {
                    found.push((index, ready?));
                    *wait = waiting(socket);
                }
            }
            if found.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(Ok(found))
            }
        })
        .await
    }
}

/// A descriptor of its own for `socket`, known to the reactor. Nothing is received
/// or sent through it: tokio would take one datagram a call.
fn registered(socket: &Socket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket.shared().try_clone()?)
}

/// Waits until a socket is ready, and forgets that it was: what arrives from then
/// on, which is before it is read, makes it ready again.
fn waiting(socket: &Arc<UdpSocket>) -> Waiting {
    let socket = Arc::clone(socket);
    Box::pin(async move {
        let interest = Interest::READABLE | Interest::ERROR;
        let ready = socket.ready(interest).await?;
        let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        match socket.try_io(interest, forget) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(ready),
        }
    })
}

/// A full socket, watched for writability.
///
/// The registration lives only as long as the socket is full: tokio never forgets
/// that a descriptor was closed for writing, and takes an ICMP error for that.
struct Full {
    socket: usize,
    watch: UdpSocket,
}

impl Full {
    fn new(worker: &Worker, socket: usize) -> io::Result<Self> {
        let blocked = worker.sockets().nth(socket);
        let blocked = blocked.expect("the core sends from sockets it was given");
        Ok(Full {
            socket,
            watch: registered(blocked)?,
        })
    }
}

async fn writable(full: Option<&Full>) -> io::Result<()> {
    match full {
        Some(full) => full.watch.writable().await,
        None => std::future::pending().await,
    }
}
