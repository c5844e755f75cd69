//! TLS of peers that tests make: plain quiche, on either side of the proxy.

use boring::pkey::PKey;
use boring::ssl::{SslContextBuilder, SslMethod, SslVerifyMode};
use boring::x509::X509;

/// A context that believes anybody, with a certificate and its key (PEM) if it is a
/// server's.
///
/// # Panics
/// If these are not PEM, or do not belong together.
pub fn context(identity: Option<(&[u8], &[u8])>) -> SslContextBuilder {
    let mut builder = SslContextBuilder::new(SslMethod::tls()).expect("a context");
    builder.set_verify(SslVerifyMode::NONE);
    if let Some((cert, key)) = identity {
        let cert = X509::from_pem(cert).expect("a certificate");
        let key = PKey::private_key_from_pem(key).expect("a key");
        builder.set_certificate(&cert).expect("it fits");
        builder.set_private_key(&key).expect("it fits");
    }
    builder
}
