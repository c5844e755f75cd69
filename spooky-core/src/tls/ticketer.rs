//! Hands the ticket keys to BoringSSL.
#![allow(
    unsafe_code,
    reason = "BoringSSL's other interface, one key a context, drops the tickets of the key before"
)]

use std::sync::Arc;

use boring::hash::MessageDigest;
use boring::hmac::HmacCtxRef;
use boring::ssl::{SslContextBuilder, SslRef, TicketKeyCallbackResult as Answer};
use boring::symm::{Cipher, CipherCtxRef};

use super::early;
use super::tickets::Tickets;

/// Tickets of connections made with `builder` are encrypted, and authenticated, with
/// the keys of `tickets`. With `own_early`, one that comes with early data is opened only
/// by the process that made it; see [`super::early`].
pub(crate) fn install(builder: &mut SslContextBuilder, tickets: Arc<Tickets>, own_early: bool) {
    let callback = move |ssl: &SslRef,
                         name: &mut [u8; 16],
                         iv: &mut [u8; 16],
                         cipher: &mut CipherCtxRef,
                         mac: &mut HmacCtxRef,
                         seal: bool| {
        if seal {
            make(&tickets, name, iv, cipher, mac)
        } else if own_early && early::flight(ssl).is_some_and(|flight| !flight.ours) {
            Answer::Noop
        } else {
            open(&tickets, name, iv, cipher, mac)
        }
    };
    // SAFETY: what is asked of a callback is that it fills the name and the IV and
    // initialises both contexts whenever it says that a ticket is to be made, and both
    // contexts whenever it says that one can be opened: `make` and `open` say either
    // only after every call that does so has succeeded. No ticket is made with an IV
    // that is not fresh. Nothing else is touched, and no panic crosses into C: there is
    // none in what they call.
    unsafe { builder.set_ticket_key_callback(callback) }
}

fn make(
    tickets: &Tickets,
    name: &mut [u8; 16],
    iv: &mut [u8; 16],
    cipher: &mut CipherCtxRef,
    mac: &mut HmacCtxRef,
) -> Answer {
    let Some((key, newest)) = tickets.newest() else {
        return Answer::Noop;
    };
    // BoringSSL's own randomness, as for all that TLS needs.
    let ready = boring::rand::rand_bytes(iv).is_ok()
        && cipher
            .init_encrypt(&Cipher::aes_256_cbc(), &key.cipher, iv)
            .is_ok()
        && mac.init(&key.mac, &MessageDigest::sha256()).is_ok();
    if !ready {
        return Answer::Error;
    }
    *name = newest;
    Answer::Success
}

fn open(
    tickets: &Tickets,
    name: &[u8; 16],
    iv: &[u8; 16],
    cipher: &mut CipherCtxRef,
    mac: &mut HmacCtxRef,
) -> Answer {
    let Some(key) = tickets.find(name) else {
        return Answer::Noop;
    };
    let ready = cipher
        .init_decrypt(&Cipher::aes_256_cbc(), &key.cipher, iv)
        .is_ok()
        && mac.init(&key.mac, &MessageDigest::sha256()).is_ok();
    if ready { Answer::Success } else { Answer::Noop }
}
