//! Whose request it is: the address of the client, behind proxies or not.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::app::App;
use crate::config::Network;

/// The address of the client as far as it can be believed; `None` for a connection that has none.
pub(super) fn client_address(app: &App, request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let trusted = &app.settings.server.trusted_proxies;
    if trusted.is_empty() {
        return Some(peer);
    }
    let lines = request.headers().get_all(header::X_FORWARDED_FOR).map(|line| line.to_str().unwrap_or("?"));
    Some(forwarded(peer, &lines.collect::<Vec<_>>(), trusted))
}

/// Whom a request comes from that `peer` hands over with these lines of X-Forwarded-For.
///
/// Every proxy appends the address that it was asked from, so what counts is what the last proxy of ours has written: the
/// rightmost address that is none of ours. Everything to the left of it can be the client's invention. When all are ours, the
/// first of them asked; when a proxy of ours wrote what is no address, the peer is all that is known.
fn forwarded(peer: IpAddr, lines: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut nearest = peer;
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = parse(text) else { return peer };
        if !is_trusted(address) {
            return address;
        }
        nearest = address;
    }
    nearest
}

/// An address, with or without a port, which some proxies add.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_rightmost_that_is_no_proxy_of_ours() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "2001:db8:1::/48"]
            .map(|network| Network::try_from(network.to_owned()).expect(network))
            .to_vec();
        for (peer, lines, expected) in [
            // Nobody is believed but the proxies.
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7,10.0.0.3", "10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["nonsense, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:5123"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::7]:5123"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["2001:db8::7, 2001:db8:1::2"], "2001:db8::7"),
            ("10.0.0.1", &["::ffff:198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
            ("2001:db8:1::1", &["198.51.100.7"], "198.51.100.7"),
            ("2001:db8:2::1", &["198.51.100.7"], "2001:db8:2::1"),
        ] {
            let address = forwarded(peer.parse().expect(peer), lines, &trusted);
            assert_eq!(address.to_string(), expected, "{peer} {lines:?}");
        }
    }
}
