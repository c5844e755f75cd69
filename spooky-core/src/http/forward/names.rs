//! Which fields of a request a gateway has a hand in.

/// What becomes of a field on its way to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It goes on as it came.
    Plain,
    /// `:method` and its like, which go first.
    Pseudo,
    /// `host`, which `:authority` stands for.
    Host,
    /// `via`, a list that we add to.
    Via,
    /// `max-forwards`, which counts down.
    MaxForwards,
    /// `forwarded`.
    Forwarded,
    /// One that we set too.
    Ours(Ours),
    /// Another field in which front ends tell of the client.
    Claim,
    /// It never goes on.
    Never,
}

/// The fields that we set where `x_forwarded` is not off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    /// `x-forwarded-for`.
    For,
    /// `x-forwarded-proto`.
    Proto,
    /// `x-forwarded-host`.
    Host,
}

/// Names in which well-known front ends tell of the client, besides all that begin
/// with `x-forwarded`.
const CLAIMS: [&[u8]; 5] = [
    b"cf-connecting-ip",
    b"true-client-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-real-ip",
];

/// The role of a field, by its first byte for nearly all.
pub(super) fn role(name: &[u8]) -> Role {
    match name.first() {
        Some(b':') => Role::Pseudo,
        // RFC 9440 section 4: a backend believes what these say of a certificate, so
        // the proxy in front of it lets none pass, whoever sent them.
        Some(b'c') if is(name, b"client-cert") || is(name, b"client-cert-chain") => Role::Never,
        Some(b'c' | b't') if is_claim(name) => Role::Claim,
        Some(b'f') if name == b"forwarded" => Role::Forwarded,
        Some(b'h') if name == b"host" => Role::Host,
        Some(b'm') if name == b"max-forwards" => Role::MaxForwards,
        // RFC 9110 section 11.7.2: for "the next inbound proxy that demanded
        // authentication", which neither we nor a backend is.
        Some(b'p') if name == b"proxy-authorization" => Role::Never,
        Some(b'v') if name == b"via" => Role::Via,
        Some(b'x') => of_x(name),
        _ => Role::Plain,
    }
}

/// The field says who a client is or how it came, which a gateway alone may say.
pub(in crate::http) fn is_of_a_gateway(name: &[u8]) -> bool {
    match role(name) {
        Role::Forwarded | Role::Ours(_) | Role::Claim | Role::Never => true,
        Role::Plain | Role::Pseudo | Role::Host | Role::Via | Role::MaxForwards => false,
    }
}

fn of_x(name: &[u8]) -> Role {
    const PREFIX: &[u8] = b"x-forwarded";
    match name {
        b"x-forwarded-for" => return Role::Ours(Ours::For),
        b"x-forwarded-proto" => return Role::Ours(Ours::Proto),
        b"x-forwarded-host" => return Role::Ours(Ours::Host),
        _ => {}
    }
    if name
        .get(..PREFIX.len())
        .is_some_and(|start| is(start, PREFIX))
    {
        // With `_` it only means to pass by whoever looks for `-`.
        return if name.contains(&b'_') {
            Role::Never
        } else {
            Role::Claim
        };
    }
    if is_claim(name) {
        Role::Claim
    } else {
        Role::Plain
    }
}

fn is_claim(name: &[u8]) -> bool {
    CLAIMS.iter().any(|claim| is(name, claim))
}

/// The same name to a server that can't tell `_` from `-`, as the interface of CGI
/// makes of both.
fn is(name: &[u8], known: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a == b || (*a == b'_' && *b == b'-');
    name.len() == known.len() && name.iter().zip(known).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_its_role() {
        for (name, expected) in [
            (":path", Role::Pseudo),
            ("accept", Role::Plain),
            ("", Role::Plain),
            ("cookie", Role::Plain),
            ("early-data", Role::Plain),
            ("te", Role::Plain),
            ("x-forward", Role::Plain),
            ("x-request-id", Role::Plain),
            ("host", Role::Host),
            ("via", Role::Via),
            ("max-forwards", Role::MaxForwards),
            ("forwarded", Role::Forwarded),
            ("x-forwarded-for", Role::Ours(Ours::For)),
            ("x-forwarded-proto", Role::Ours(Ours::Proto)),
            ("x-forwarded-host", Role::Ours(Ours::Host)),
            ("x-forwarded", Role::Claim),
            ("x-forwarded-port", Role::Claim),
            ("x-forwarded-client-cert", Role::Claim),
            ("x-real-ip", Role::Claim),
            ("x_real_ip", Role::Claim),
            ("true-client-ip", Role::Claim),
            ("cf-connecting-ip", Role::Claim),
            ("x_forwarded_for", Role::Never),
            ("x-forwarded_for", Role::Never),
            ("client-cert", Role::Never),
            ("client-cert-chain", Role::Never),
            ("client_cert", Role::Never),
            ("proxy-authorization", Role::Never),
        ] {
            assert_eq!(role(name.as_bytes()), expected, "{name}");
        }
    }
}
