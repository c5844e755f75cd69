//! A block of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An address, or a block of them in the notation of RFC 4632: `10.0.0.0/8`.
///
/// IPv4 addresses in IPv6 form (`::ffff:10.0.0.1`) are IPv4 here, as are blocks
/// within those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The bits that all addresses have in common.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The bits of an address: 32 or 128.
    pub fn max_prefix(&self) -> u8 {
        bits(self.address)
    }
}

impl FromStr for Network {
    type Err = &'static str;

    /// # Errors
    /// What is wrong, in words.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| "that is no IP address")?;
        let most = bits(written);
        let prefix = match prefix {
            None => most,
            Some(text) => super::units::parse_number(text)
                .and_then(|number| u8::try_from(number).ok())
                .filter(|&prefix| prefix <= most)
                .ok_or("what follows '/' is a number of bits, up to 32 or, in IPv6, 128")?,
        };
        let network = canonical(written, prefix);
        if network.has_more_bits() {
            return Err("the address has bits beyond those that its '/' counts");
        }
        Ok(network)
    }
}

impl Network {
    fn has_more_bits(&self) -> bool {
        let rest = match self.address {
            IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
            IpAddr::V6(ip) => ip.to_bits(),
        };
        rest.checked_shl(u32::from(self.prefix)).unwrap_or(0) != 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == self.max_prefix() {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A block within the mapped IPv4 addresses (RFC 4291 section 2.5.5.2) is one of IPv4.
fn canonical(address: IpAddr, prefix: u8) -> Network {
    const MAPPED: u8 = 96;
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if prefix >= MAPPED => Network {
            address: canonical,
            prefix: prefix - MAPPED,
        },
        (IpAddr::V4(_) | IpAddr::V6(_), _) => Network { address, prefix },
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_printed() {
        for (text, printed) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            let network: Network = text.parse().expect(text);
            assert_eq!(network.to_string(), printed);
            assert_eq!(printed.parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (text, words) in [
            ("", "no IP address"),
            ("a.test", "no IP address"),
            ("10.0.0/8", "no IP address"),
            ("[::1]", "no IP address"),
            ("10.0.0.0/", "number of bits"),
            ("10.0.0.0/33", "number of bits"),
            ("10.0.0.0/-1", "number of bits"),
            ("10.0.0.0/08", "number of bits"),
            ("10.0.0.0/8/8", "number of bits"),
            ("::/129", "number of bits"),
            ("10.0.0.1/8", "bits beyond"),
            ("1.0.0.0/0", "bits beyond"),
            ("2001:db8::1/32", "bits beyond"),
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
