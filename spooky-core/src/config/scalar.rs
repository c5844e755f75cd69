//! One value → one field: each kind of value the configuration knows.
//!
//! Every function answers with the value or with a sentence that says what was
//! expected and what was found. Quoted or not makes no difference.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds;
use super::model::{
    AccessFormat, ClientAuthMode, CongestionControl, EarlyData, Instance, LbType, LogTarget, Retry,
    Sample, Workers, XForwarded,
};
use super::network::Network;
use super::node::{Node, Value};
use super::schema;
use super::units;

/// The value, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn workers(node: &Node) -> Parsed<Workers> {
    let what = format!("auto, or a whole number {}", between(&bounds::WORKERS));
    match text(node, &what)? {
        "auto" => Ok(Workers::Auto),
        _ => whole(node, &what, &bounds::WORKERS).map(Workers::Count),
    }
}

/// The name of one of several machines.
pub(super) fn instance(node: &Node) -> Parsed<Instance> {
    let what = format!(
        "auto, or a number or name of 1 to {} printable ASCII characters without spaces",
        bounds::INSTANCE_BYTES
    );
    let text = text(node, &what)?;
    let legal = (1..=bounds::INSTANCE_BYTES).contains(&text.len());
    if !legal || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(expected(&what, node));
    }
    Ok(match text {
        "auto" => Instance::Auto,
        name => Instance::Named(name.to_owned()),
    })
}

/// What becomes of requests in 0-RTT.
pub(super) fn early_requests(node: &Node) -> Parsed<EarlyData> {
    if let Value::Scalar { text } = &node.value
        && matches!(text.as_str(), "on" | "off" | "true" | "false")
    {
        return Err(format!(
            "expected one of hold, forward, found '{text}'; whether early data is accepted \
             at all stands in 'tls'"
        ));
    }
    let words = [("hold", EarlyData::Hold), ("forward", EarlyData::Forward)];
    choice(node, &words, &[])
}

pub(super) fn number<T>(node: &Node, range: &RangeInclusive<T>) -> Parsed<T>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    whole(node, &format!("a whole number {}", between(range)), range)
}

pub(super) fn flag(node: &Node) -> Parsed<bool> {
    let what = "on or off (true and false are the same)";
    match text(node, what)? {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(expected(what, node)),
    }
}

pub(super) fn duration(node: &Node, range: &RangeInclusive<Duration>) -> Parsed<Duration> {
    let form = "a duration such as 250ms, 5s, 2m or 1h";
    let duration = units::parse_duration(text(node, form)?).ok_or_else(|| expected(form, node))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [range.start(), range.end()].map(|&end| units::format_duration(end));
    let what = format!("a duration from {least} to {most}");
    Err(expected(&what, node))
}

pub(super) fn size(node: &Node, range: &RangeInclusive<u64>) -> Parsed<u64> {
    let form = "a size such as 64KiB, 10MiB, 1GiB or plain bytes";
    let size = units::parse_size(text(node, form)?).ok_or_else(|| expected(form, node))?;
    if range.contains(&size) {
        return Ok(size);
    }
    let [least, most] = [range.start(), range.end()].map(|&end| units::format_size(end));
    let what = format!("a size from {least} to {most}");
    Err(expected(&what, node))
}

/// A size of heads; says why it cannot be large.
pub(super) fn header_bytes(node: &Node) -> Parsed<u64> {
    let parsed = size(node, &bounds::HEADER_BYTES);
    let too_large = match &node.value {
        Value::Scalar { text } => {
            units::parse_size(text).is_some_and(|size| size > *bounds::HEADER_BYTES.end())
        }
        Value::Nothing | Value::List(_) | Value::Section(_) | Value::Refused => false,
    };
    if too_large {
        return parsed.map_err(|message| {
            message + ": larger heads do not fit the initial congestion window and would never be sent on"
        });
    }
    parsed
}

/// An address to listen on.
pub(super) fn ip(node: &Node) -> Parsed<IpAddr> {
    let what = "an IP address such as 0.0.0.0 or ::";
    let text = text(node, what).map_err(|message| match &node.value {
        Value::List(_) => message + "; leave out the brackets",
        Value::Scalar { .. } | Value::Nothing | Value::Section(_) | Value::Refused => message,
    })?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_canonical());
    }
    if text.parse::<SocketAddr>().is_ok() {
        return Err(expected(what, node) + "; the port stands in 'port'");
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Err(expected(what, node) + "; leave out the brackets");
    }
    Err(expected(what, node))
}

/// An address to send to.
pub(super) fn backend_address(node: &Node) -> Parsed<SocketAddr> {
    let what = "an IP address and port such as 192.168.1.10:443 or [2001:db8::1]:443";
    let text = text(node, what).map_err(|message| match &node.value {
        Value::List(_) => message + "; what begins with a bracket has to stand in quotes",
        Value::Scalar { .. } | Value::Nothing | Value::Section(_) | Value::Refused => message,
    })?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return usable(address).map_err(|reason| format!("{} {reason}", shown(text)));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 443);
        return Err(format!(
            "{} has no port; write for example {example}",
            shown(text)
        ));
    }
    if text.contains("://") {
        return Err(expected(what, node) + "; leave out the scheme");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) {
        return Err(expected(what, node) + "; a port is a number from 1 to 65535");
    }
    let is_name = hostname(host).is_ok() && host.contains(|c: char| c.is_ascii_alphabetic());
    if is_name && port.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "{} is a name, and backend addresses are IP and port for now: \
             names are not resolved yet",
            shown(host)
        ));
    }
    Err(expected(what, node))
}

/// One address of one machine, in its shortest form.
fn usable(address: SocketAddr) -> Result<SocketAddr, &'static str> {
    let canonical = address.ip().to_canonical();
    if address.port() == 0 {
        return Err("has port 0, to which nothing can be sent");
    }
    if canonical.is_unspecified() {
        return Err("is the address of no machine; for this one, write 127.0.0.1 or [::1]");
    }
    if canonical.is_multicast() {
        return Err("is a multicast address, and QUIC speaks with one peer");
    }
    if canonical.is_ipv4() && address.is_ipv6() {
        return Ok(SocketAddr::new(canonical, address.port()));
    }
    Ok(address)
}

pub(super) fn backend_id(node: &Node) -> Parsed<String> {
    let what = format!(
        "an id of 1 to {} printable ASCII characters without spaces",
        bounds::ID_BYTES
    );
    let text = text(node, &what)?;
    let legal = (1..=bounds::ID_BYTES).contains(&text.len());
    if legal && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(expected(&what, node))
}

/// A name for SNI and for the certificate's check.
pub(super) fn server_name(node: &Node) -> Parsed<String> {
    let what = "a host name such as api.internal";
    let text = text(node, what)?;
    if text.parse::<IpAddr>().is_ok() {
        return Err(expected(what, node)
            + "; without server_name, certificates are checked against the backend's address");
    }
    match hostname(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(reason) => Err(format!("{}: {reason}", expected(what, node))),
    }
}

/// The shape of a host name, as certificates hold it (RFC 5280, and the
/// underscore that names inside a network have).
fn hostname(text: &str) -> Result<(), &'static str> {
    let character = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_ascii() {
        return Err("write it in its ASCII form (xn--...)");
    }
    if text.ends_with('.') {
        return Err("leave out the dot at its end");
    }
    if text.len() > 253 {
        return Err("a name has at most 253 characters");
    }
    for label in text.split('.') {
        if !(1..=63).contains(&label.len()) {
            return Err("between its dots stand 1 to 63 characters");
        }
        if !label.chars().all(character) {
            return Err("it has letters, digits, '-' and dots");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part begins or ends with '-'");
        }
    }
    Ok(())
}

/// A file, found from the folder `base`.
pub(super) fn path(node: &Node, base: &Path) -> Parsed<PathBuf> {
    place(node, base, "the path of a file")
}

/// A folder, likewise.
pub(super) fn folder(node: &Node, base: &Path) -> Parsed<PathBuf> {
    place(node, base, "the path of a folder")
}

fn place(node: &Node, base: &Path, what: &str) -> Parsed<PathBuf> {
    let text = text(node, what)?;
    if text.is_empty() {
        return Err(expected(what, node));
    }
    if text.chars().any(char::is_control) {
        return Err(
            expected(what, node) + "; a path has no line breaks or other control characters"
        );
    }
    if text.starts_with("~/") {
        return Err(expected(what, node) + "; '~' is not replaced by a home folder here");
    }
    Ok(base.join(text))
}

/// A share of connections.
pub(super) fn sample(node: &Node) -> Parsed<Sample> {
    let what = "a share from 0.000001 to 1, such as 0.001 for one connection of a thousand";
    let share = text(node, what)?.parse::<f64>().ok();
    let count = share.map(|share| share * f64::from(Sample::ALL)).filter(
        // Not a number is in no range.
        |count| (1.0..=f64::from(Sample::ALL)).contains(count),
    );
    count
        // In the range of `u32` by the line before.
        .and_then(|count| Sample::from_per_million(count.round() as u32))
        .ok_or_else(|| expected(what, node))
}

pub(super) fn log_target(node: &Node, base: &Path) -> Parsed<LogTarget> {
    match text(node, "stdout, stderr, or the path of a file")? {
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        _ => path(node, base).map(LogTarget::File),
    }
}

pub(super) fn level(node: &Node) -> Parsed<log::LevelFilter> {
    use log::LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    let levels = [
        ("off", Off),
        ("error", Error),
        ("warn", Warn),
        ("info", Info),
        ("debug", Debug),
        ("trace", Trace),
    ];
    choice(node, &levels, &[])
}

pub(super) fn retry(node: &Node) -> Parsed<Retry> {
    let words = [
        ("auto", Retry::Auto),
        ("always", Retry::Always),
        ("never", Retry::Never),
    ];
    choice(node, &words, &[])
}

pub(super) fn policy(node: &Node) -> Parsed<LbType> {
    choice(
        node,
        &[("random", LbType::Random)],
        &schema::PROMISED_POLICIES,
    )
}

pub(super) fn client_auth_mode(node: &Node) -> Parsed<ClientAuthMode> {
    let words = [
        ("none", ClientAuthMode::None),
        ("request", ClientAuthMode::Request),
        ("require", ClientAuthMode::Require),
    ];
    choice(node, &words, &[])
}

pub(super) fn access_format(node: &Node) -> Parsed<AccessFormat> {
    choice(
        node,
        &[("json", AccessFormat::Json)],
        &schema::PROMISED_FORMATS,
    )
}

/// An address or a block of them.
pub(super) fn network(node: &Node) -> Parsed<Network> {
    let what = "an IP address or block such as 10.0.0.0/8 or 2001:db8::/32";
    text(node, what)?
        .parse()
        .map_err(|reason| format!("{}: {reason}", expected(what, node)))
}

pub(super) fn x_forwarded(node: &Node) -> Parsed<XForwarded> {
    let words = [
        ("replace", XForwarded::Replace),
        ("append", XForwarded::Append),
        ("off", XForwarded::Off),
    ];
    choice(node, &words, &[])
}

pub(super) fn congestion_control(node: &Node) -> Parsed<CongestionControl> {
    let words = [
        ("cubic", CongestionControl::Cubic),
        ("bbr2", CongestionControl::Bbr2),
        ("reno", CongestionControl::Reno),
    ];
    choice(node, &words, &[])
}

/// A name that is a token in `via` (RFC 9110 section 7.6.3) as in `proxy-status`
/// (RFC 8941 section 3.3.4: begins with a letter), or none.
pub(super) fn pseudonym(node: &Node) -> Parsed<Option<String>> {
    let what = format!(
        "off, or a name of 1 to {} letters, digits, '-', '_' and '.', beginning with a letter",
        bounds::VIA_BYTES
    );
    let text = text(node, &what)?;
    if text == "off" || text == "false" {
        return Ok(None);
    }
    let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let legal = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= bounds::VIA_BYTES
        && text.bytes().all(character)
        // It would be read as a flag, and there is nothing to switch on.
        && !matches!(text, "on" | "true");
    if legal {
        return Ok(Some(text.to_owned()));
    }
    Err(expected(&what, node))
}

/// One of a few words; of those that are promised, it says so.
fn choice<T: Copy>(
    node: &Node,
    accepted: &[(&'static str, T)],
    promised: &[&'static str],
) -> Parsed<T> {
    let words: Vec<_> = accepted.iter().map(|&(word, _)| word).collect();
    let what = match words.as_slice() {
        [only] => format!("'{only}'"),
        several => format!("one of {}", several.join(", ")),
    };
    let text = text(node, &what)?;
    if let Some(&(_, value)) = accepted.iter().find(|&&(word, _)| word == text) {
        return Ok(value);
    }
    if promised.contains(&text) {
        return Err(format!(
            "'{text}' is not available yet; use {}",
            words.join(", ")
        ));
    }
    match schema::nearest(text, &words) {
        Some(nearest) => Err(expected(&what, node) + &format!("; did you mean '{nearest}'?")),
        None => Err(expected(&what, node)),
    }
}

fn whole<T>(node: &Node, what: &str, range: &RangeInclusive<T>) -> Parsed<T>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    units::parse_number(text(node, what)?)
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| expected(what, node))
}

fn between<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("from {} to {}", range.start(), range.end())
}

fn text<'n>(node: &'n Node, what: &str) -> Parsed<&'n str> {
    match &node.value {
        Value::Scalar { text } => Ok(text),
        Value::Nothing | Value::List(_) | Value::Section(_) | Value::Refused => {
            Err(expected(what, node))
        }
    }
}

/// "expected WHAT, found ...".
pub(super) fn expected(what: &str, node: &Node) -> String {
    let found = match &node.value {
        Value::Scalar { text } => shown(text),
        Value::Nothing | Value::Refused => "nothing".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Section(_) => "a section of keys".to_owned(),
    };
    format!("expected {what}, found {found}")
}

/// A user's text in a message: quoted, on one line, and not too much of it.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS: usize = 60;
    let start: String = text.chars().take(CHARACTERS).collect();
    let rest = if start.len() < text.len() { "..." } else { "" };
    let visible: String = start
        .chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_debug());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    format!("'{visible}{rest}'")
}
