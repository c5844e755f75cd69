//! Binding the sockets of all workers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;

use socket2::{Domain, Protocol, Type};
use spooky_core::config::{Listen, Workers};
use spooky_core::io::{SocketId, Sockets};

use crate::{Buffers, Socket};

/// Sockets toward backends, of each address family, a worker. A backend that
/// spreads its load by addresses and ports must not see a worker as one client.
const BACKEND_SOCKETS: u16 = 4;

/// The listener could not be made.
#[derive(Debug)]
pub struct BindError {
    /// Where it should have listened.
    pub address: SocketAddr,
    /// Why it does not.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { address, error } = self;
        write!(f, "cannot listen on {address} (UDP): ")?;
        if error.kind() == io::ErrorKind::AddrInUse {
            return f.write_str("address in use");
        }
        error.fmt(f)?;
        if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 {
            f.write_str(
                "; ports below 1024 need CAP_NET_BIND_SERVICE, \
                 or a lower net.ipv4.ip_unprivileged_port_start",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for BindError {}

/// How many workers `workers` asks for: the cores this process may use, or a number.
pub fn worker_count(workers: Workers) -> usize {
    match workers {
        Workers::Auto => thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => usize::from(count).max(1),
    }
}

/// Binds the sockets of `workers` workers, and logs where and with which buffers.
///
/// All listeners share one address through SO_REUSEPORT, and the kernel spreads
/// clients over them. A socket's place in the inner list is its [`SocketId`]; the
/// listener is first.
pub fn bind(listen: &Listen, workers: usize) -> Result<Vec<Vec<Socket>>, BindError> {
    let asked = Buffers {
        receive: bytes(listen.receive_buffer),
        send: bytes(listen.send_buffer),
    };
    let address = SocketAddr::new(listen.address, listen.port);
    let sockets =
        bind_all(address, workers, asked).map_err(|error| BindError { address, error })?;
    if let Some(listener) = sockets.first().and_then(|worker| worker.first()) {
        announce(listener, workers, asked);
    }
    Ok(sockets)
}

/// The names of a worker's sockets, as the core wants them.
pub(crate) fn names(sockets: &[Socket]) -> Option<Sockets> {
    let (listener, backends) = sockets.split_first()?;
    let name = |socket: &Socket| (socket.id(), socket.local_addr());
    Some(Sockets {
        listener: listener.local_addr(),
        backends: backends.iter().map(name).collect(),
    })
}

fn bind_all(address: SocketAddr, workers: usize, asked: Buffers) -> io::Result<Vec<Vec<Socket>>> {
    let mut all = Vec::with_capacity(workers);
    for listener in listeners(address, workers)? {
        let mut sockets = vec![Socket::new(SocketId::LISTENER, listener)?];
        sockets.extend(backend_sockets()?);
        for socket in &sockets {
            // Asking for too much is no reason not to run; `announce` tells.
            if let Err(error) = socket.resize_buffers(asked) {
                log::debug!(
                    "cannot resize the buffers of {}: {error}",
                    socket.local_addr()
                );
            }
        }
        all.push(sockets);
    }
    Ok(all)
}

/// One socket a worker, all bound to one address.
///
/// With SO_REUSEPORT on all of them, a second Spooky on the same address would
/// start without a word and take half of the clients. So the first is bound
/// without it, which fails if anybody is there, and joins the group afterwards.
/// There is no moment in between at which another process could slip in, and with
/// port 0 no chance to be given the port of somebody else's group.
fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = unbound(address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let first = UdpSocket::from(first);
    let bound = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        let socket = unbound(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        all.push(socket.into());
    }
    Ok(all)
}

fn unbound(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // The system's default differs (net.ipv6.bindv6only); ours does not.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn backend_sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let mut missing = None;
    for any in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        for _ in 0..BACKEND_SOCKETS {
            let id = SocketId(
                SocketId::LISTENER.0 + 1 + u16::try_from(sockets.len()).unwrap_or(u16::MAX),
            );
            match backend_socket(any) {
                Ok(socket) => sockets.push(Socket::new(id, socket)?),
                // A system without IPv6, or without IPv4, is a whole system.
                Err(error) => missing = Some(error),
            }
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        Some(_) | None => Ok(sockets),
    }
}

fn backend_socket(any: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(any, 0);
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if any.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn announce(listener: &Socket, workers: usize, asked: Buffers) {
    let plural = if workers == 1 { "" } else { "s" };
    log::info!(
        "listening on {} (UDP) with {workers} worker{plural}",
        listener.local_addr()
    );
    let granted = match listener.buffers() {
        Ok(granted) => granted,
        Err(error) => {
            log::warn!("cannot read the socket's buffer sizes: {error}");
            return;
        }
    };
    log::info!(
        "socket buffers: receive {}, send {}",
        kib(granted.receive),
        kib(granted.send)
    );
    let rows = [
        ("receive", granted.receive, asked.receive, "rmem_max"),
        ("send", granted.send, asked.send, "wmem_max"),
    ];
    for (name, granted, asked, sysctl) in rows {
        if granted < asked {
            log::warn!(
                "the {name} buffer is {} of the {} asked for, so bursts may be lost: \
                 run `sysctl -w net.core.{sysctl}={asked}`, or grant CAP_NET_ADMIN",
                kib(granted),
                kib(asked),
            );
        }
    }
}

fn bytes(size: u64) -> usize {
    // The kernel takes a C int and doubles it.
    usize::try_from(size)
        .unwrap_or(usize::MAX)
        .min(i32::MAX as usize / 2)
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes / 1024)
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
