//! Why a connection to a backend was not made, in words an operator can act on.

use boring::x509::X509VerifyResult;

use crate::observe::Reason;
use crate::session::Session;

/// The reason and detail of a handshake that failed. `refused` is set if the
/// network said that nobody listens.
pub(crate) fn connect_failure(session: &mut Session, refused: bool) -> (Reason, Option<Box<str>>) {
    if refused {
        return (Reason::ConnectionRefused, None);
    }
    let verified: X509VerifyResult = session.quic_mut().as_mut().verify_result();
    // RFC 9001 section 4.8: a TLS alert is error 0x100 plus its code.
    let local_tls = session
        .quic()
        .local_error()
        .filter(|e| !e.is_app && (0x100..0x200).contains(&e.error_code));
    if local_tls.is_some() && verified.is_err() {
        return (Reason::CertificateRefused, Some(advice(&verified).into()));
    }
    if let Some(error) = local_tls {
        let text = format!("TLS alert {} sent to the backend", error.error_code - 0x100);
        return (Reason::TlsFailed, Some(text.into()));
    }
    let Some(error) = session.quic().peer_error() else {
        return (Reason::ConnectionFailed, None);
    };
    if !error.is_app && (0x100..0x200).contains(&error.error_code) {
        let text = format!("TLS alert {} from the backend", error.error_code - 0x100);
        return (Reason::TlsFailed, Some(text.into()));
    }
    (
        Reason::ConnectionFailed,
        Some(format!("the backend closed with code {:#x}", error.error_code).into()),
    )
}

/// What is wrong with the certificate, and which key of the configuration helps.
fn advice(result: &X509VerifyResult) -> String {
    let error = match result {
        Ok(()) => return String::new(),
        Err(error) => error,
    };
    let text = error.to_string();
    let help = if text.contains("mismatch") {
        "set backend_tls.server_name to a name in the certificate"
    } else if text.contains("expired") || text.contains("not yet valid") {
        "renew the backend's certificate"
    } else {
        "set backend_tls.ca to the CA that signed it"
    };
    format!("{text}: {help}")
}

#[cfg(test)]
mod tests {
    use boring::x509::X509VerifyError;

    use super::*;

    /// The words that are looked for are BoringSSL's.
    #[test]
    fn a_refused_certificate_comes_with_what_to_do_about_it() {
        let name = "set backend_tls.server_name to a name in the certificate";
        let renew = "renew the backend's certificate";
        let ca = "set backend_tls.ca to the CA that signed it";
        for (error, help) in [
            (X509VerifyError::HOSTNAME_MISMATCH, name),
            (X509VerifyError::IP_ADDRESS_MISMATCH, name),
            (X509VerifyError::CERT_HAS_EXPIRED, renew),
            (X509VerifyError::CERT_NOT_YET_VALID, renew),
            (X509VerifyError::DEPTH_ZERO_SELF_SIGNED_CERT, ca),
            (X509VerifyError::SELF_SIGNED_CERT_IN_CHAIN, ca),
            (X509VerifyError::UNABLE_TO_GET_ISSUER_CERT_LOCALLY, ca),
        ] {
            assert_eq!(advice(&Err(error)), format!("{error}: {help}"));
        }
    }
}
