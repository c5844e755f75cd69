//! Whom the client believes, and a QUIC connection that heeds it.

use std::net::SocketAddr;
use std::path::Path;

use boring::ssl::{SslContextBuilder, SslMethod, SslRef, SslVerifyMode};
use boring::x509::X509;
use boring::x509::store::X509StoreBuilder;
use quiche::ConnectionId;
use rand::Rng as _;

use super::transport::{Windows, apply};
use super::{Error, Target};

/// Which servers are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those the system's authorities vouch for.
    System,
    /// Those these authorities vouch for, in PEM.
    Authorities(Vec<u8>),
    /// Nobody is asked: whoever answers is believed.
    Nobody,
}

impl Trust {
    /// What `--ca FILE` and `--insecure` mean.
    pub fn from_flags(ca: Option<&Path>, insecure: bool) -> Result<Self, Error> {
        match (ca, insecure) {
            (_, true) => Ok(Self::Nobody),
            (None, false) => Ok(Self::System),
            (Some(file), false) => std::fs::read(file)
                .map(Self::Authorities)
                .map_err(|error| Error::Setup(format!("--ca {}: {error}", file.display()))),
        }
    }

    fn authorities(&self) -> Result<Vec<X509>, Error> {
        match self {
            Self::Nobody => Ok(Vec::new()),
            Self::Authorities(pem) => {
                let found = X509::stack_from_pem(pem).map_err(setup)?;
                if found.is_empty() {
                    let why = "the file given with --ca holds no PEM certificate";
                    return Err(Error::Setup(why.to_owned()));
                }
                Ok(found)
            }
            Self::System => {
                let found = rustls_native_certs::load_native_certs().certs;
                if found.is_empty() {
                    let why = "this system has no certificate authorities: install \
                               ca-certificates, or give one with --ca FILE";
                    return Err(Error::Setup(why.to_owned()));
                }
                // One the system has and we cannot read is one we do not trust.
                Ok(found
                    .iter()
                    .filter_map(|der| X509::from_der(der).ok())
                    .collect())
            }
        }
    }
}

/// A client's QUIC configuration.
pub fn client_config(trust: &Trust, windows: &Windows) -> Result<quiche::Config, Error> {
    let mut tls = SslContextBuilder::new(SslMethod::tls()).map_err(setup)?;
    let mut store = X509StoreBuilder::new().map_err(setup)?;
    for authority in trust.authorities()? {
        store.add_cert(authority).map_err(setup)?;
    }
    tls.set_verify_cert_store(store.build()).map_err(setup)?;
    tls.set_verify(match trust {
        Trust::Nobody => SslVerifyMode::NONE,
        Trust::System | Trust::Authorities(_) => SslVerifyMode::PEER,
    });
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)
        .map_err(setup)?;
    apply(&mut config, windows).map_err(setup)?;
    Ok(config)
}

/// A new connection to `target` at `peer`, which has sent nothing yet.
pub fn open(
    target: &Target,
    local: SocketAddr,
    peer: SocketAddr,
    config: &mut quiche::Config,
) -> Result<quiche::Connection, Error> {
    let mut id = [0; 16];
    rand::rng().fill_bytes(&mut id);
    let scid = ConnectionId::from_ref(&id);
    let ip = target.ip();
    // An address is no server name (RFC 6066 section 3); the certificate is
    // checked against the address itself.
    let name = ip.is_none().then_some(target.host.as_str());
    let mut quic = quiche::connect(name, &scid, local, peer, config).map_err(setup)?;
    if let Some(ip) = ip {
        let tls: &mut SslRef = quic.as_mut();
        tls.param_mut().set_ip(ip).map_err(setup)?;
    }
    Ok(quic)
}

/// Why a connection that is closed, or about to be, is so.
pub(super) fn why_closed(quic: &mut quiche::Connection, peer: SocketAddr) -> Error {
    if quic.is_timed_out() {
        return Error::Idle;
    }
    let (error, by_server) = match (quic.peer_error(), quic.local_error()) {
        (Some(error), _) => (error.clone(), true),
        (None, Some(error)) => (error.clone(), false),
        (None, None) => return Error::NoAnswer(peer, std::time::Duration::ZERO),
    };
    // RFC 9001 section 4.8: a TLS alert is 0x100 and its number.
    if !error.is_app && (0x100..0x200).contains(&error.error_code) {
        let tls: &mut SslRef = quic.as_mut();
        let alert = (error.error_code & 0xff) as u8;
        return match tls.verify_result() {
            // bad_certificate to unknown_ca (RFC 8446 section 6): ours to give.
            Err(why) if !by_server && (42..=48).contains(&alert) => {
                Error::Untrusted(why.error_string().to_owned())
            }
            Ok(()) | Err(_) => Error::Handshake { alert, by_server },
        };
    }
    Error::Closed {
        by_server,
        application: error.is_app,
        code: error.error_code,
        reason: String::from_utf8_lossy(&error.reason).into_owned(),
    }
}

fn setup(error: impl std::fmt::Display) -> Error {
    Error::Setup(error.to_string())
}
