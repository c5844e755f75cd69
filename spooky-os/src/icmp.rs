//! News that a datagram of ours reached nobody.
//!
//! The kernel keeps ICMP errors in a queue beside the socket. quinn-udp can read
//! it, but tells only which router complained, not about which destination, and
//! the destination is what names the connection. So it is read here.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

use crate::socket::canonical;

/// Room for the error, the router's address, and the packet info and timestamp
/// that are switched on for the socket.
const CONTROL_BYTES: usize = 512;
/// `ee_origin` of an ICMP error, from linux/errqueue.h.
const ORIGIN_ICMP: u8 = 2;
/// `ee_origin` of an ICMPv6 error.
const ORIGIN_ICMP6: u8 = 3;
/// Destination unreachable, RFC 792.
const ICMP_UNREACHABLE: u8 = 3;
/// Its code for "too big": the path's MTU, not the peer's absence.
const ICMP_FRAGMENTATION_NEEDED: u8 = 4;
/// Destination unreachable, RFC 4443 section 3.1.
const ICMP6_UNREACHABLE: u8 = 1;

/// One entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A datagram to this address reached nobody.
    Unreachable(SocketAddr),
    /// Something else, such as a datagram larger than the path takes.
    Other,
}

/// Takes the oldest entry of the socket's error queue.
pub(crate) fn take(socket: BorrowedFd<'_>) -> io::Result<Option<Notice>> {
    // The queue gives back the head of the datagram that failed. Nobody needs it.
    let mut payload = [0; 1];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let mut control = [0; CONTROL_BYTES];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let received =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags);
    let message = match received {
        Ok(message) => message,
        Err(nix::errno::Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let unreachable = message.cmsgs()?.any(|control| is_unreachable(&control));
    let to = message.address.as_ref().and_then(socket_addr);
    Ok(Some(match to {
        Some(to) if unreachable => Notice::Unreachable(canonical(to)),
        Some(_) | None => Notice::Other,
    }))
}

fn is_unreachable(control: &ControlMessageOwned) -> bool {
    let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) =
        control
    else {
        return false;
    };
    match error.ee_origin {
        ORIGIN_ICMP => {
            error.ee_type == ICMP_UNREACHABLE && error.ee_code != ICMP_FRAGMENTATION_NEEDED
        }
        ORIGIN_ICMP6 => error.ee_type == ICMP6_UNREACHABLE,
        _ => false,
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6))
}
