//! Peers whose word counts.

use std::net::IpAddr;

use crate::config::Network;

/// `forwarding.trusted_proxies`, to be asked at every request: ranges of IPv6
/// addresses in order, apart from each other, IPv4 as its mapped form.
#[derive(Debug)]
pub(super) struct Peers(Vec<(u128, u128)>);

impl Peers {
    pub(super) fn new(networks: &[Network]) -> Self {
        let mut ranges: Vec<_> = networks.iter().map(range).collect();
        ranges.sort_unstable();
        let mut apart: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                Some(_) | None => apart.push((first, last)),
            }
        }
        Peers(apart)
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let number = number(ip);
        let behind = self.0.partition_point(|&(first, _)| first <= number);
        behind
            .checked_sub(1)
            .is_some_and(|index| number <= self.0[index].1)
    }
}

fn range(network: &Network) -> (u128, u128) {
    let host_bits = network.max_prefix() - network.prefix();
    let first = number(network.address());
    let rest = 1_u128
        .checked_shl(u32::from(host_bits))
        .map_or(u128::MAX, |size| size - 1);
    (first, first | rest)
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_their_networks_and_nowhere_else() {
        let peers = peers(&[
            "10.1.0.0/16",
            "10.1.2.0/24",
            "192.0.2.7",
            "2001:db8::/32",
            "::1",
        ]);
        for (ip, inside) in [
            ("10.1.0.0", true),
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("10.0.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("192.0.2.8", false),
            ("::ffff:192.0.2.7", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::", false),
            ("::2", false),
        ] {
            assert_eq!(peers.contains(ip.parse().expect(ip)), inside, "{ip}");
        }
    }

    #[test]
    fn whole_families_and_nobody() {
        let all = |text: &str, ip: &str| peers(&[text]).contains(ip.parse().expect(ip));
        assert!(all("0.0.0.0/0", "255.255.255.255") && all("0.0.0.0/0", "0.0.0.0"));
        assert!(!all("0.0.0.0/0", "::1"));
        assert!(all("::/0", "ffff::1") && all("::/0", "1.2.3.4"));
        assert!(!Peers::new(&[]).contains("::1".parse().expect("an address")));
    }

    fn peers(list: &[&str]) -> Peers {
        let networks: Vec<Network> = list.iter().map(|t| t.parse().expect(t)).collect();
        Peers::new(&networks)
    }
}
