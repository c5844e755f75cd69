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
    let mut readiness = Readiness::new(worker.sockets())?;
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
    fn new<'a>(sockets: impl Iterator<Item = &'a Socket>) -> io::Result<Self> {
        let watch = |socket| {
            let socket = Arc::new(registered(socket)?);
            let waiting = waiting(&socket);
            Ok((socket, waiting))
        };
        Ok(Readiness {
            sockets: sockets.map(watch).collect::<io::Result<_>>()?,
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
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        // tokio forgets one interest at a time.
        for interest in [Interest::READABLE, Interest::ERROR] {
            let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            match socket.try_io(interest, forget) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(ready)
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use spooky_core::io::{SocketId, Transmit};
    use spooky_core::pump::Sent;
    use spooky_os::IoCounters;

    use super::*;

    #[tokio::test]
    async fn each_arrival_is_told_once_even_if_nobody_reads() {
        let sockets = [socket(), socket()];
        let mut readiness = Readiness::new(sockets.iter()).expect("registered");
        assert!(settled(&mut readiness).await.is_empty());
        for _ in 0..3 {
            sockets[0]
                .shared()
                .send_to(b"hello", sockets[1].local_addr())
                .expect("sent");
            let told = settled(&mut readiness).await;
            assert!(!told.is_empty());
            assert!(
                told.iter()
                    .all(|(socket, ready)| *socket == 1 && ready.is_readable())
            );
        }
    }

    #[tokio::test]
    async fn absence_of_a_peer_is_told_as_an_error() {
        let mut sockets = [socket()];
        let gone = socket().local_addr();
        let mut readiness = Readiness::new(sockets.iter()).expect("registered");
        for _ in 0..3 {
            let from = SocketAddr::from(([0, 0, 0, 0], 0));
            let transmit = Transmit {
                socket: SocketId(0),
                from,
                to: gone,
                size: 1,
                segment_size: None,
            };
            assert_eq!(
                sockets[0].send(&transmit, b"?", &mut IoCounters::default()),
                Sent::Yes
            );
            let told = settled(&mut readiness).await;
            assert!(told.iter().any(|(_, ready)| ready.is_error()));
            sockets[0].unreachable(|to| assert_eq!(to, gone));
        }
    }

    /// What is told until nothing has been for a while.
    async fn settled(readiness: &mut Readiness) -> Vec<(usize, Ready)> {
        let mut told = Vec::new();
        while let Ok(more) = time::timeout(Duration::from_millis(50), readiness.next()).await {
            told.extend(more.expect("the reactor lives"));
            assert!(told.len() < 10, "told again and again");
        }
        told
    }

    fn socket() -> Socket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        Socket::new(SocketId(0), socket).expect("a socket")
    }
}
