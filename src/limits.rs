//! How often one client may ask: a token bucket for each address and for each SMART client. And how many of its requests may
//! wait at once.

mod places;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::config;
pub use places::{Full, Place, Places};

/// Idle keys are forgotten after so many questions: no more than these can have come in between.
const SWEEP_EVERY: usize = 100_000;

/// The bits of an IPv6 address that are one customer's; within them, whoever asks can choose another for each request.
const NETWORK_BITS: u128 = !0 << 64;

/// The limits of this process. Every refusal tells how long to wait until the next request is let through.
pub struct Limits {
    address: Option<Buckets<IpAddr>>,
    auth: Option<Buckets<IpAddr>>,
    record: Option<Buckets<IpAddr>>,
    client: Option<Buckets<u64>>,
    polls: Option<Buckets<u64>>,
    hasher: RandomState,
    /// For requests that wait for changes.
    pub feeds: Places,
    /// For WebSockets.
    pub sockets: Places,
}

impl Limits {
    pub fn new(settings: &config::Limits) -> Self {
        Self {
            address: Buckets::new(settings.address_per_s, settings.address_burst),
            auth: Buckets::new(settings.auth_per_s, settings.auth_burst),
            record: Buckets::new(settings.refusals_per_s, settings.refusals_burst),
            client: Buckets::new(settings.client_per_s, settings.client_burst),
            polls: Buckets::new(settings.polls_per_s, settings.polls_burst),
            hasher: RandomState::new(),
            feeds: Places::new(settings.feeds_max, settings.feeds_per_client),
            sockets: Places::new(settings.sockets_max, settings.sockets_per_address),
        }
    }

    /// Counts a request of any kind.
    ///
    /// # Errors
    /// The wait, when this address has asked too often.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Duration> {
        self.address.as_ref().map_or(Ok(()), |buckets| buckets.check(&network(address)))
    }

    /// Counts a request that could be a guess at a password or a secret.
    ///
    /// # Errors
    /// The wait, when this address has asked too often.
    pub fn check_auth(&self, address: IpAddr) -> Result<(), Duration> {
        self.auth.as_ref().map_or(Ok(()), |buckets| buckets.check(&network(address)))
    }

    /// Counts a refusal that is to be recorded.
    ///
    /// # Errors
    /// The wait, when this address was refused too often.
    pub fn check_record(&self, address: IpAddr) -> Result<(), Duration> {
        self.record.as_ref().map_or(Ok(()), |buckets| buckets.check(&network(address)))
    }

    /// Counts a request with a token of a SMART client.
    ///
    /// # Errors
    /// The wait, when this client has asked too often.
    pub fn check_client(&self, issuer: &str, client_id: &str) -> Result<(), Duration> {
        // A keyed hash of 64 bits stands for the id: nothing is copied, and nobody can find two ids that share a bucket.
        self.client.as_ref().map_or(Ok(()), |buckets| buckets.check(&self.hasher.hash_one((issuer, client_id))))
    }

    /// Counts a look at how far an export is.
    ///
    /// # Errors
    /// The wait, when this export was looked at too often.
    pub fn check_poll(&self, export: &str) -> Result<(), Duration> {
        self.polls.as_ref().map_or(Ok(()), |buckets| buckets.check(&self.hasher.hash_one(export)))
    }
}

/// What an address is counted as.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS).into(),
        address => address,
    }
}

struct Buckets<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    asked: AtomicUsize,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// `None` where there is no limit.
    fn new(per_s: f64, burst: u32) -> Option<Self> {
        let period = Duration::try_from_secs_f64(per_s.recip()).ok()?;
        let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::new(burst)?);
        Some(Self { limiter: DefaultKeyedRateLimiter::keyed(quota), asked: AtomicUsize::new(0) })
    }

    fn check(&self, key: &K) -> Result<(), Duration> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(key).map_err(|refused| refused.wait_time_from(self.limiter.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three at once, and then one in half an hour.
    fn limits() -> Limits {
        let (per_s, burst) = (1.0 / 1800.0, 3);
        Limits::new(&config::Limits {
            refusals_per_s: 0.0,
            refusals_burst: 1,
            address_per_s: per_s,
            address_burst: burst,
            auth_per_s: per_s,
            auth_burst: burst,
            client_per_s: per_s,
            client_burst: burst,
            polls_per_s: per_s,
            polls_burst: burst,
            sockets_max: 0,
            sockets_per_address: 0,
            feeds_max: 1,
            feeds_per_client: 1,
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_fourth_of_three_is_told_when_to_come_again() {
        let limits = limits();
        for _ in 0..3 {
            assert_eq!(limits.check_address(address("10.0.0.1")), Ok(()));
        }
        let wait = limits.check_address(address("10.0.0.1")).expect_err("the fourth");
        assert!(wait > Duration::from_secs(1700) && wait <= Duration::from_secs(1800), "{wait:?}");
        assert_eq!(limits.check_address(address("10.0.0.2")), Ok(()), "another address");
        assert_eq!(limits.check_auth(address("10.0.0.1")), Ok(()), "another kind");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let limits = limits();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"] {
            assert_eq!(limits.check_auth(address(host)), Ok(()), "{host}");
        }
        limits.check_auth(address("2001:db8::3")).expect_err("the fourth of one network");
        assert_eq!(limits.check_auth(address("2001:db8:0:1::3")), Ok(()), "the next network");
        // The same IPv4 address, however the socket shows it.
        for host in ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"] {
            assert_eq!(limits.check_auth(address(host)), Ok(()), "{host}");
        }
        limits.check_auth(address("::ffff:10.0.0.1")).expect_err("the fourth of one address");
    }

    #[test]
    fn each_client_has_a_bucket() {
        let limits = limits();
        for _ in 0..3 {
            assert_eq!(limits.check_client("", "one"), Ok(()));
        }
        limits.check_client("", "one").expect_err("the fourth");
        assert_eq!(limits.check_client("", "two"), Ok(()));
    }

    #[test]
    fn who_waits_is_let_in_again() {
        let buckets = Buckets::<u64>::new(100.0, 1).expect("a limit");
        while buckets.check(&1).is_ok() {}
        while buckets.check(&1).is_err() {}
    }

    #[test]
    fn no_limit_is_none() {
        let buckets = Buckets::<u64>::new(0.0, 1);
        assert!(buckets.is_none());
    }

    #[test]
    fn idle_keys_are_forgotten() {
        // So fast that a bucket is full again before anybody else has asked.
        let buckets = Buckets::<usize>::new(1_000_000.0, 1).expect("a limit");
        for key in 0..SWEEP_EVERY {
            let _counted = buckets.check(&key);
        }
        assert!(buckets.limiter.len() < SWEEP_EVERY / 2, "{} keys", buckets.limiter.len());
    }
}
