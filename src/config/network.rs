//! Networks by their addresses, as settings name them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Addresses with a common beginning, `10.0.0.0/8` or `2001:db8::/32`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// `address` is in its shortest form: no IPv4 address inside an IPv6 one (`IpAddr::to_canonical`).
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse().or_else(|_no_network| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_no_address| {
            format!("'{text}' is no address and no network; write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32")
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |network: &str, address: &str| {
            Network::try_from(network.to_owned()).expect(network).contains(address.parse().expect(address))
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("::1", "::1") && !holds("::/0", "10.0.0.1"));
        for text in ["", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.1:80"] {
            Network::try_from(text.to_owned()).expect_err(text);
        }
    }
}
