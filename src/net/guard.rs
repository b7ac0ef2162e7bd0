//! Which addresses may be called. Source: the special-purpose address registries of IANA (RFC 6890), as of 2026.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// All of IPv4 that is not public.
const REFUSED_V4: [Ipv4Net; 17] = [
    // This network, and the unspecified address, which leads to this machine.
    v4(0, 0, 0, 0, 8),
    // Private.
    v4(10, 0, 0, 0, 8),
    // Between a provider and its customers; metadata of some clouds.
    v4(100, 64, 0, 0, 10),
    // This machine.
    v4(127, 0, 0, 0, 8),
    // Public by its number, but on Azure it is the host of the machine, which hands out its secrets.
    v4(168, 63, 129, 16, 32),
    // The local link; metadata of most clouds.
    v4(169, 254, 0, 0, 16),
    // Private.
    v4(172, 16, 0, 0, 12),
    // Protocol assignments.
    v4(192, 0, 0, 0, 24),
    // Documentation.
    v4(192, 0, 2, 0, 24),
    // Relays to 6to4, given up.
    v4(192, 88, 99, 0, 24),
    // Private.
    v4(192, 168, 0, 0, 16),
    // Benchmarks.
    v4(198, 18, 0, 0, 15),
    // Documentation.
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // Multicast.
    v4(224, 0, 0, 0, 4),
    // Reserved.
    v4(240, 0, 0, 0, 4),
    // Everybody on this link. Within the reserved ones, but a row of its own in the registry.
    v4(255, 255, 255, 255, 32),
];

/// All that has been given out of IPv6 for use in public. What lies outside is loopback, unspecified, private, of the
/// local link or site, multicast, an IPv4 address in the forms of old, or reserved.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 3);

/// What is within, but not public.
const REFUSED_V6: [Ipv6Net; 4] = [
    // Protocol assignments. Teredo is one of them: a tunnel to an IPv4 address that the numbers hide.
    v6(0x2001, 0, 23),
    // Documentation.
    v6(0x2001, 0xdb8, 32),
    // 6to4: a tunnel to the IPv4 address in the numbers, given up.
    v6(0x2002, 0, 16),
    // Documentation.
    v6(0x3fff, 0, 20),
];

/// What may be called: every public address, and what an operator allows.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
}

impl Guard {
    /// A guard that lets through, beside public addresses, those in the ranges `allow`.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Whether an address may be called at all.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.lists(address) || is_public(address)
    }

    /// Whether the operator allowed an address, be it public or not. An IPv4 address that is written as IPv6
    /// (`::ffff:10.1.2.3`) is the IPv4 address: that is what the system connects to.
    pub fn lists(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allow.iter().any(|range| range.contains(&address) || range.contains(&canonical))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !REFUSED_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => match translated(address) {
            Some(behind) => is_public(behind.into()),
            None => PUBLIC_V6.contains(&address) && !REFUSED_V6.iter().any(|range| range.contains(&address)),
        },
    }
}

/// The IPv4 address behind one of NAT64 (64:ff9b::/96), through which a machine that has IPv6 alone reaches the others.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
    ];

    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
        // Unspecified and loopback.
        "::",
        "::1",
        // IPv4-compatible, whatever is in them.
        "::2",
        "::7f00:1",
        "::1.1.1.1",
        // IPv4-mapped.
        "::ffff:0.0.0.0",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        // IPv4-translated (SIIT), whatever is in them.
        "::ffff:0:1.1.1.1",
        // NAT64, and NAT64 of one's own, whatever is in it.
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:0:0:0:1:101:101",
        "64:ff9b:1::1.1.1.1",
        // Discard.
        "100::1",
        // Protocol assignments: Teredo with a private and a public server, benchmarks, ORCHID.
        "2001::1",
        "2001:0:a00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        // Documentation.
        "2001:db8::",
        "2001:db8:ffff::1",
        "3fff::1",
        "3fff:fff::1",
        // 6to4 of a private and a public address.
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2002:101:101::1",
        // Beyond what has been given out.
        "1fff:ffff::1",
        "4000::1",
        "5f00::1",
        // Private, of the link, of the site, multicast.
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf:ffff::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn guard(allow: &[&str]) -> Guard {
        Guard::new(allow.iter().map(|range| range.parse().expect("a range")).collect())
    }

    #[test]
    fn public_addresses_may_be_called_and_no_others() {
        let guard = Guard::default();
        let refused: Vec<_> = PUBLIC.iter().filter(|text| !guard.permits(address(text))).collect();
        let permitted: Vec<_> = REFUSED.iter().filter(|text| guard.permits(address(text))).collect();
        assert!(refused.is_empty(), "public, but refused: {refused:?}");
        assert!(permitted.is_empty(), "not public, but permitted: {permitted:?}");
    }

    #[test]
    fn what_is_allowed_may_be_called_and_nothing_beside_it() {
        let guard = guard(&["10.1.0.0/16", "127.0.0.1/32", "fd00:1::/32"]);
        for allowed in ["10.1.0.0", "10.1.255.255", "127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "fd00:1::5"] {
            assert!(guard.permits(address(allowed)) && guard.lists(address(allowed)), "{allowed}");
        }
        for refused in ["10.0.255.255", "10.2.0.0", "127.0.0.2", "::1", "::127.0.0.1", "64:ff9b::10.1.2.3", "fd00:2::5"]
        {
            assert!(!guard.permits(address(refused)), "{refused}");
        }
        assert!(guard.permits(address("1.1.1.1")) && !guard.lists(address("1.1.1.1")));
    }

    #[test]
    fn a_range_of_mapped_addresses_allows_those() {
        let guard = guard(&["::ffff:10.1.0.0/112"]);
        assert!(guard.permits(address("::ffff:10.1.2.3")));
        assert!(!guard.permits(address("::ffff:10.2.2.3")));
    }
}
