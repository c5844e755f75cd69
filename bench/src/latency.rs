//! How long a client waits for its handshake and for its first byte: one connection at
//! a time, so that nothing waits for anything else.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quiche::RecvInfo;
use quiche::h3::{self, Header};
use spooky_mio::client::transport::Windows;
use spooky_mio::client::{Request, Target, Trust, client_config, open};

use crate::load::{Outcome, Tally};

/// A connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: a whole handshake.
    New,
    /// The ticket of the connection before.
    Resumed,
    /// The same, and its request at once (0-RTT).
    Early,
}

/// Handshakes and first bytes of `count` connections that begin with `start`.
///
/// # Errors
/// The first connection that failed, or that was not resumed where it should be.
pub fn run(
    target: &Target,
    trust: &Trust,
    start: Start,
    count: usize,
) -> Result<[Outcome; 2], String> {
    let address = target.resolve().map_err(|error| error.to_string())?;
    let address = *address.first().ok_or("the name has no address")?;
    let mut config =
        client_config(trust, &Windows::default()).map_err(|error| error.to_string())?;
    if start == Start::Early {
        config.enable_early_data();
    }
    let (mut handshakes, mut answers) = (Tally::default(), Tally::default());
    let mut ticket = None;
    let begun = Instant::now();
    // The first is there for its ticket.
    for index in 0..=count {
        let session = ticket.take().filter(|_| start != Start::New);
        let times = connect(target, address, &mut config, session.as_deref())?;
        if index > 0 {
            if times.resumed != (start != Start::New) {
                return Err(format!("{start:?}: resumed is {}", times.resumed));
            }
            handshakes.answer(times.handshake);
            answers.answer(times.first_byte);
        }
        ticket = Some(times.ticket);
    }
    let window = begun.elapsed();
    Ok([handshakes, answers].map(|tally| Outcome {
        tally,
        window,
        cpu: None,
        grown: None,
    }))
}

struct Times {
    handshake: Duration,
    /// From the beginning to the response's head.
    first_byte: Duration,
    resumed: bool,
    ticket: Vec<u8>,
}

/// One connection with one request, until it has brought a ticket.
fn connect(
    target: &Target,
    address: SocketAddr,
    config: &mut quiche::Config,
    session: Option<&[u8]>,
) -> Result<Times, String> {
    let socket = UdpSocket::bind(match address {
        SocketAddr::V4(_) => "127.0.0.1:0",
        SocketAddr::V6(_) => "[::1]:0",
    })
    .map_err(|error| error.to_string())?;
    let local = socket.local_addr().map_err(|error| error.to_string())?;
    let mut quic = open(target, local, address, config).map_err(|error| error.to_string())?;
    if let Some(session) = session {
        quic.set_session(session)
            .map_err(|error| format!("the ticket is not taken: {error}"))?;
    }
    let head = Request::get(target).head();
    let began = Instant::now();
    let (mut handshake, mut first_byte) = (None, None);
    let mut http = None;
    while began.elapsed() < PATIENCE {
        send(&socket, &mut quic).map_err(|error| error.to_string())?;
        if quic.is_established() {
            handshake.get_or_insert_with(|| began.elapsed());
        }
        if http.is_none() && (quic.is_established() || quic.is_in_early_data()) {
            http = Some(ask(&mut quic, &head)?);
            continue;
        }
        if let Some(http) = &mut http
            && answered(http, &mut quic)?
        {
            first_byte.get_or_insert_with(|| began.elapsed());
        }
        if let (Some(handshake), Some(first_byte), Some(ticket)) =
            (handshake, first_byte, quic.session())
        {
            let ticket = ticket.to_vec();
            // `Done`: the server was quicker.
            let _ = quic.close(true, 0x100, b"");
            send(&socket, &mut quic).map_err(|error| error.to_string())?;
            return Ok(Times {
                handshake,
                first_byte,
                resumed: quic.is_resumed(),
                ticket,
            });
        }
        receive(&socket, local, &mut quic).map_err(|error| error.to_string())?;
    }
    Err(format!(
        "no answer in {PATIENCE:?}: handshake {handshake:?}, response {first_byte:?}, ticket {}",
        quic.session().is_some()
    ))
}

fn ask(quic: &mut quiche::Connection, head: &[Header]) -> Result<h3::Connection, String> {
    let failed = |error: h3::Error| format!("HTTP/3: {error}");
    let config = h3::Config::new().map_err(failed)?;
    let mut http = h3::Connection::with_transport(quic, &config).map_err(failed)?;
    http.send_request(quic, head, true).map_err(failed)?;
    Ok(http)
}

/// The response's head has come.
fn answered(http: &mut h3::Connection, quic: &mut quiche::Connection) -> Result<bool, String> {
    loop {
        match http.poll(quic) {
            Ok((_, h3::Event::Headers { .. })) => return Ok(true),
            Ok((_, h3::Event::Reset(code))) => return Err(format!("reset {code:#x}")),
            Ok(_) => {}
            Err(h3::Error::Done) => return Ok(false),
            Err(error) => return Err(format!("HTTP/3: {error}")),
        }
    }
}

fn send(socket: &UdpSocket, quic: &mut quiche::Connection) -> io::Result<()> {
    let mut datagram = [0; 1500];
    while let Ok((len, info)) = quic.send(&mut datagram) {
        socket.send_to(&datagram[..len], info.to)?;
    }
    Ok(())
}

/// Waits for a datagram or a timer.
fn receive(socket: &UdpSocket, local: SocketAddr, quic: &mut quiche::Connection) -> io::Result<()> {
    let wait = quic.timeout().unwrap_or(PATIENCE);
    socket.set_read_timeout(Some(wait.max(Duration::from_micros(1))))?;
    let mut datagram = [0; 65_536];
    match socket.recv_from(&mut datagram) {
        Ok((len, from)) => {
            // What is wrong with it shows in what the connection becomes.
            let _ = quic.recv(&mut datagram[..len], RecvInfo { from, to: local });
            Ok(())
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            quic.on_timeout();
            Ok(())
        }
        Err(error) => Err(error),
    }
}
