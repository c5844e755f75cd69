//! Certificates and keys as files hold them: PEM or DER, apart or in a bundle.

use boring::ec::EcKey;
use boring::error::ErrorStack;
use boring::pkcs12::Pkcs12;
use boring::pkey::{PKey, Private};
use boring::x509::X509;

/// All certificates of a file, in its order; at least one.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<X509>, String> {
    if !is_pem(bytes) {
        return der_certificates(bytes);
    }
    let found =
        X509::stack_from_pem(bytes).map_err(|e| format!("not a PEM certificate chain ({e})"))?;
    if found.is_empty() {
        let instead = if contains(bytes, b"PRIVATE KEY-----") {
            "; it holds a private key"
        } else {
            ""
        };
        return Err(format!(
            "no CERTIFICATE block in it{instead}; a chain, leaf first, is expected"
        ));
    }
    Ok(found)
}

/// One certificate behind the other.
fn der_certificates(mut bytes: &[u8]) -> Result<Vec<X509>, String> {
    if bytes.is_empty() {
        return Err("the file is empty; a certificate chain, leaf first, is expected".into());
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let certificate = element(bytes).and_then(|first| X509::from_der(first).ok());
        let Some((certificate, length)) = certificate.zip(element(bytes).map(<[u8]>::len)) else {
            let place = match (found.len(), private_key_der(bytes)) {
                (0, Some(_)) => "it holds a private key",
                (0, None) => "it has no line beginning with -----BEGIN and is no DER certificate",
                (_, _) => "what follows its last certificate is none",
            };
            return Err(format!(
                "{place}; certificates as PEM or DER, leaf first, are expected"
            ));
        };
        found.push(certificate);
        bytes = &bytes[length..];
    }
    Ok(found)
}

/// The private key of a file.
pub(crate) fn private_key(bytes: &[u8]) -> Result<PKey<Private>, String> {
    let what = "PKCS#8, PKCS#1 or SEC1, as PEM or DER, is expected";
    // PKCS#8's own block, and the header of RFC 1421 in the older ones.
    if contains(bytes, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(bytes, b"4,ENCRYPTED") {
        return Err(
            "the key is encrypted; give it without a password, or as a pkcs12 bundle with one"
                .into(),
        );
    }
    let key = if is_pem(bytes) {
        PKey::private_key_from_pem(bytes).ok()
    } else {
        private_key_der(bytes)
    };
    key.ok_or_else(|| {
        let instead = if certificates(bytes).is_ok() {
            "; it holds a certificate"
        } else if is_encrypted_der(bytes) {
            "; it seems to be encrypted"
        } else {
            ""
        };
        format!("no usable private key in it{instead}; {what}")
    })
}

fn private_key_der(bytes: &[u8]) -> Option<PKey<Private>> {
    PKey::private_key_from_der(bytes)
        .or_else(|_| EcKey::private_key_from_der(bytes).and_then(PKey::from_ec_key))
        .ok()
}

/// What a bundle holds: the chain, leaf first, and the leaf's key.
pub(crate) fn bundle(
    bytes: &[u8],
    password: Option<&str>,
) -> Result<(Vec<X509>, PKey<Private>), String> {
    let held = Pkcs12::from_der(bytes)
        .and_then(|bundle| bundle.parse2(password.unwrap_or("")))
        .map_err(|error| not_opened(&error, password.is_some()))?;
    let Some(key) = held.pkey else {
        return Err("the bundle holds no private key".into());
    };
    let Some(leaf) = held.cert else {
        return Err("the bundle holds no certificate that its private key belongs to".into());
    };
    let others = held.ca.into_iter().flatten().collect();
    Ok((linked(leaf, others), key))
}

fn not_opened(error: &ErrorStack, has_password: bool) -> String {
    let said = |word| error.errors().iter().any(|e| e.reason() == Some(word));
    if said("BAD_PKCS12_DATA") {
        return "not a sound PKCS#12 bundle (.p12 or .pfx)".into();
    }
    // A bundle without a MAC tells only that what was decrypted makes no sense.
    let wrong = said("INCORRECT_PASSWORD") || said("BAD_DECRYPT");
    match (wrong, has_password) {
        (true, true) => "the password is wrong, or the bundle was altered".into(),
        (true, false) => {
            "the bundle is encrypted; 'password' has to say where its password is".into()
        }
        (false, _) => format!("the bundle cannot be read ({error})"),
    }
}

/// The leaf and those of `others` that lead to its root, in that order: bundles have
/// none. The root itself is left out: clients have it, or trust nothing below it
/// (RFC 8446 section 4.4.2: "a certificate that specifies a trust anchor MAY be
/// omitted from the chain").
fn linked(leaf: X509, mut others: Vec<X509>) -> Vec<X509> {
    let issued_by = |certificate: &X509, issuer: &X509| issuer.issued(certificate).is_ok();
    let mut chain = vec![leaf];
    while let Some(last) = chain.last()
        && let Some(index) = others.iter().position(|other| issued_by(last, other))
    {
        let next = others.swap_remove(index);
        if !issued_by(&next, &next) {
            chain.push(next);
        }
    }
    chain
}

fn is_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 section 3) begins with an algorithm, a key with
/// its version.
fn is_encrypted_der(bytes: &[u8]) -> bool {
    element(bytes).is_some_and(|whole| whole.len() == bytes.len())
        && header(bytes).is_some_and(|(start, _)| bytes.get(start) == Some(&SEQUENCE))
}

const SEQUENCE: u8 = 0x30;

/// The first SEQUENCE of `bytes`, its header with it.
fn element(bytes: &[u8]) -> Option<&[u8]> {
    let (start, length) = header(bytes)?;
    bytes.get(..start.checked_add(length)?)
}

/// Where the contents of a SEQUENCE begin, and how long they are (X.690 section 8.1.3).
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let [SEQUENCE, first, rest @ ..] = bytes else {
        return None;
    };
    let count = usize::from(first & 0x7f);
    if *first < 0x80 {
        return Some((2, count));
    }
    // No file of ours has 4 GiB.
    let digits = rest.get(..count).filter(|d| (1..=4).contains(&d.len()))?;
    let length = digits.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
    Some((2 + count, length))
}
