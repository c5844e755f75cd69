//! Sessions that go on at another door, as after a restart or a reload.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::PKey;
use boring::x509::{X509, X509Name};
use spooky_mio::demo::identity::Identity;

use super::door::{Door, Visit, Visitor};
use super::{CERTIFICATE_EXPIRED, CERTIFICATE_REQUIRED, authority, issue, roots};

const PLAIN: &str = "{ cert: a.pem, key: a.key }";

/// A ticket from the first door, shown at the second one.
struct Return<'a> {
    server: Identity,
    clients: Identity,
    identity: Option<&'a Identity>,
}

impl Return<'_> {
    fn door(&self, (tls, more): (&str, &str)) -> Door {
        let files = [("a", &self.server), ("clients", &self.clients)];
        Door::with(tls, more, &files, SystemTime::now())
    }

    fn ticket(&self, first: (&str, &str)) -> Vec<u8> {
        let visit = self.door(first).visit(&self.visitor(None));
        assert!(visit.is_in(), "{first:?}");
        visit.quic.session().expect("a ticket").to_vec()
    }

    fn visitor<'t>(&'t self, ticket: Option<&'t [u8]>) -> Visitor<'t> {
        Visitor {
            name: Some("a.test"),
            identity: self.identity,
            ticket,
        }
    }

    /// The visit to the second.
    fn between(&self, first: (&str, &str), second: (&str, &str)) -> Visit {
        let ticket = self.ticket(first);
        self.door(second).visit(&self.visitor(Some(&ticket)))
    }
}

fn auth(mode: &str) -> String {
    format!("{{ cert: a.pem, key: a.key, client_auth: {{ mode: {mode}, ca: clients.pem }} }}")
}

fn returning(identity: Option<&Identity>, clients: Identity) -> Return<'_> {
    Return {
        server: issue(&authority(), &["a.test"]),
        clients,
        identity,
    }
}

#[test]
fn a_session_goes_on_where_nothing_has_changed() {
    let ours = authority();
    let client = issue(&ours, &["client.test"]);
    for mode in ["none", "request", "require"] {
        let again = returning(Some(&client), roots(&ours));
        let tls = (&auth(mode)[..], "");
        let visit = again.between(tls, tls);
        assert!(visit.is_in() && visit.quic.is_resumed(), "{mode}");
    }
    // Nothing of these is promised to a client.
    let again = returning(None, roots(&ours));
    for more in ["quic: { idle_timeout: 9s }\n", "limits: { headers: 99 }\n"] {
        let visit = again.between((PLAIN, ""), (PLAIN, more));
        assert!(visit.is_in() && visit.quic.is_resumed(), "{more}");
    }
}

/// BoringSSL asks for no certificate when it resumes.
#[test]
fn a_session_from_before_certificates_were_required_is_no_way_in() {
    let ours = authority();
    let again = returning(None, roots(&ours));
    let require = auth("require");
    for before in [PLAIN, &auth("request")] {
        let visit = again.between((before, ""), (&require, ""));
        assert_eq!(visit.alert(), Some(CERTIFICATE_REQUIRED), "{before}");
    }
    let client = issue(&ours, &["client.test"]);
    let again = returning(Some(&client), roots(&ours));
    for before in [PLAIN, &auth("request")] {
        let visit = again.between((before, ""), (&require, ""));
        assert!(visit.is_in() && !visit.quic.is_resumed(), "{before}");
    }
}

#[test]
fn a_session_of_a_certificate_whose_root_is_gone_is_no_way_in() {
    let (ours, theirs) = (authority(), authority());
    let client = issue(&ours, &["client.test"]);
    let mut again = returning(Some(&client), roots(&ours));
    let require = auth("require");
    let ticket = again.ticket((&require, ""));
    again.clients = roots(&theirs);
    let visit = again
        .door((&require, ""))
        .visit(&again.visitor(Some(&ticket)));
    assert_eq!(visit.alert(), Some(super::UNKNOWN_CA));
}

/// Early data would be sent under the limits of before.
#[test]
fn a_session_under_other_limits_is_not_gone_on_with() {
    let again = returning(None, roots(&authority()));
    for more in [
        "quic: { max_streams: 99 }\n",
        "quic: { stream_window: 255KiB }\n",
        "quic: { connection_window: 63MiB }\n",
        "limits: { header_bytes: 31KiB }\n",
        "websocket: off\n",
    ] {
        let visit = again.between((PLAIN, ""), (PLAIN, more));
        assert!(visit.is_in() && !visit.quic.is_resumed(), "{more}");
    }
}

#[test]
fn a_session_does_not_outlive_the_certificate_it_began_with() {
    let hour = Duration::from_secs(3600);
    let client = until(SystemTime::now() + hour);
    let root = Identity {
        cert: client.cert.clone(),
        key: String::new(),
    };
    let again = returning(Some(&client), root);
    let require = auth("require");
    let ticket = again.ticket((&require, ""));
    let files = [("a", &again.server), ("clients", &again.clients)];
    for (age, alert) in [(hour / 2, None), (2 * hour, Some(CERTIFICATE_EXPIRED))] {
        let wall = SystemTime::now() + age;
        let mut door = Door::with(&require, "", &files, wall);
        let visit = door.visit(&again.visitor(Some(&ticket)));
        assert!(visit.quic.is_resumed(), "{age:?}");
        assert_eq!(visit.alert(), alert, "{age:?}");
    }
}

/// Not even for what is sent before the handshake is complete.
#[test]
fn early_requests_do_not_outlive_the_certificate_either() {
    let hour = Duration::from_secs(3600);
    let client = until(SystemTime::now() + hour);
    let root = Identity {
        cert: client.cert.clone(),
        key: String::new(),
    };
    let again = returning(Some(&client), root);
    let require = auth("require");
    let ticket = again.ticket((&require, ""));
    let files = [("a", &again.server), ("clients", &again.clients)];
    for (age, requests) in [(hour / 2, 1), (2 * hour, 0)] {
        let wall = SystemTime::now() + age;
        let mut door = Door::with(&require, "", &files, wall);
        let mut visit = door.approach(&again.visitor(Some(&ticket)));
        let said = visit.says_early();
        door.hear(&visit, said);
        door.answer(&mut visit);
        door.settle(&mut visit);
        assert_eq!(door.requests(), requests, "{age:?}");
        let alert = (requests == 0).then_some(CERTIFICATE_EXPIRED);
        assert_eq!(visit.alert(), alert, "{age:?}");
    }
}

/// A certificate that is its own root, and how long it is good.
fn until(end: SystemTime) -> Identity {
    let seconds = end
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let end = Asn1Time::from_unix(seconds.try_into().expect("small")).expect("a time");
    let made = || -> Result<Identity, boring::error::ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509Name::builder()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "client")?;
        let name = name.build();
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_not_before(&*Asn1Time::from_unix(0)?)?;
        builder.set_not_after(&end)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        builder.set_pubkey(&key)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let pem = |bytes| String::from_utf8(bytes).expect("PEM is text");
        Ok(Identity {
            cert: pem(builder.build().to_pem()?),
            key: pem(key.private_key_to_pem_pkcs8()?),
        })
    };
    made().expect("a certificate")
}
