//! The `tls` section: certificates, keys, and who clients have to be.

use std::path::PathBuf;

use super::bounds;
use super::decode::{Decoder, View};
use super::model::{ClientAuth, ClientAuthMode, IdentitySource, Tls};
use super::scalar;
use super::schema;
use super::secret::{SecretSource, secret};

pub(super) fn tls(decoder: &mut Decoder<'_>, root: &View<'_>) -> Option<Tls> {
    let view = decoder.required_section(root, "tls", &schema::TLS)?;
    let identity = identity(decoder, &view);
    let most = bounds::CERTIFICATES;
    let items = decoder.optional_list(&view, "certificates", most, &schema::CERTIFICATE);
    let certificates = items
        .iter()
        .filter_map(|item| self::identity(decoder, item));
    let certificates = certificates.collect();
    let client_auth = client_auth(decoder, &view);
    let early_data = decoder.optional(&view, "early_data", scalar::flag);
    let default = super::defaults::SESSION_TICKETS;
    let session_tickets = decoder.value(&view, "session_tickets", default, scalar::flag);
    if early_data == Some(true) && !session_tickets {
        let message = "early_data is on, and session_tickets is off: only a client that \
                       resumes with a ticket can send early data"
            .to_owned();
        decoder.combination(&view, &["early_data", "session_tickets"], message);
    }
    Some(Tls {
        identity: identity?,
        certificates,
        client_auth,
        // Without tickets there is none; on is the default, and may stand for it.
        early_data: early_data.unwrap_or(super::defaults::EARLY_DATA) && session_tickets,
        session_tickets,
    })
}

/// Either `cert` and `key`, or `pkcs12` and perhaps `password`.
fn identity(decoder: &mut Decoder<'_>, view: &View<'_>) -> Option<IdentitySource> {
    let base = decoder.base;
    if view.has("pkcs12") {
        let pkcs12 = decoder.required(view, "pkcs12", |node| scalar::path(node, base));
        let password = decoder.optional(view, "password", |node| secret(node, base));
        if view.has("cert") || view.has("key") {
            let message = "a pkcs12 bundle holds certificate and key: give either the bundle, \
                           or cert and key";
            decoder.combination(view, &["pkcs12"], message.to_owned());
        }
        return Some(IdentitySource::Bundle {
            pkcs12: pkcs12?,
            password,
        });
    }
    let cert = decoder.required(view, "cert", |node| scalar::path(node, base));
    let key = decoder.required(view, "key", |node| scalar::path(node, base));
    if view.has("password") {
        let message = "a password belongs to a pkcs12 bundle; a key file is read without one";
        decoder.combination(view, &["password"], message.to_owned());
    }
    Some(IdentitySource::Pair {
        cert: cert?,
        key: key?,
    })
}

fn client_auth(decoder: &mut Decoder<'_>, tls: &View<'_>) -> ClientAuth {
    let Some(view) = decoder.optional_section(tls, "client_auth", &schema::CLIENT_AUTH) else {
        return ClientAuth::default();
    };
    let base = decoder.base;
    // Without a default: who names a CA and no mode believes to be safe.
    let mode = decoder.required(&view, "mode", scalar::client_auth_mode);
    let ca = decoder.optional(&view, "ca", |node| scalar::path(node, base));
    let mode = mode.unwrap_or(ClientAuthMode::None);
    let asked = match mode {
        ClientAuthMode::None => false,
        ClientAuthMode::Request | ClientAuthMode::Require => true,
    };
    if asked && !view.has("ca") {
        let message = "clients are asked for certificates, and 'ca' has to say which are good: \
                       the file of the roots they come from";
        decoder.combination(&view, &["mode"], message.to_owned());
    }
    ClientAuth { mode, ca }
}

impl Tls {
    /// The identities with the paths of their sections; the first one is for whom no other fits.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (String, &IdentitySource)> {
        let more = self.certificates.iter().enumerate();
        let more = more.map(|(index, source)| (format!("tls.certificates[{index}]"), source));
        std::iter::once(("tls".to_owned(), &self.identity)).chain(more)
    }

    /// Every file but those of secrets.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.identity)
            .chain(&mut self.certificates)
            .flat_map(|source| match source {
                IdentitySource::Pair { cert, key } => [Some(cert), Some(key)],
                IdentitySource::Bundle { pkcs12, .. } => [Some(pkcs12), None],
            })
            .flatten()
            .chain(&mut self.client_auth.ca)
    }

    /// As [`Self::files_mut`].
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.identity)
            .chain(&self.certificates)
            .flat_map(|source| match source {
                IdentitySource::Pair { cert, key } => [Some(cert), Some(key)],
                IdentitySource::Bundle { pkcs12, .. } => [Some(pkcs12), None],
            })
            .flatten()
            .chain(&self.client_auth.ca)
    }

    pub(super) fn secret_sources(&self) -> impl Iterator<Item = &SecretSource> {
        std::iter::once(&self.identity)
            .chain(&self.certificates)
            .filter_map(|source| match source {
                IdentitySource::Bundle { password, .. } => password.as_ref(),
                IdentitySource::Pair { .. } => None,
            })
    }

    pub(super) fn secret_sources_mut(&mut self) -> impl Iterator<Item = &mut SecretSource> {
        std::iter::once(&mut self.identity)
            .chain(&mut self.certificates)
            .filter_map(|source| match source {
                IdentitySource::Bundle { password, .. } => password.as_mut(),
                IdentitySource::Pair { .. } => None,
            })
    }
}
