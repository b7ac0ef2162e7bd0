//! Keys and secrets of webhooks in the database: shared by all nodes, sealed, and rotated with an overlap.

use openssl::base64::encode_block;
use plumbline::auth::keys::{KeyError, Seal};
use plumbline::config::{Delivery, Settings};
use plumbline::delivery::keys::{self, Keys, KeysError, Old, Ring};
use plumbline::delivery::secrets::Secrets;
use plumbline::delivery::signature::{Key, Secret, VerifyingKey, sign, verify};
use plumbline::fhir::types::Instant;
use plumbline::store::{Limits, Store};
use serde_json::Value;

use crate::harness::{Server, on_both};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Far from the time of the server that runs beside the tests and forgets what is over.
const NOW: Instant = Instant(4_000_000_000 * SECOND);
const LANE: &str = "subscription/1";

fn settings() -> Delivery {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    Settings::load(Some(file.path())).expect("the settings").delivery
}

fn seal(server: &Server) -> Seal {
    Seal::open(None, server.data()).expect("the seal")
}

fn other_seal() -> Seal {
    Seal::open(Some(&encode_block(&[7; 32])), std::path::Path::new("unused")).expect("a seal")
}

fn after(span: i64) -> Instant {
    Instant(NOW.0 + span)
}

fn run<T>(server: &Server, test: impl AsyncFnOnce(Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        test(Store::open(&server.store_url(), Limits::default()).await.expect("the database")).await
    })
}

/// The public keys as texts, newest first.
fn texts(public: &Value) -> Vec<String> {
    let keys = public["keys"].as_array().expect("a list").iter();
    keys.map(|key| key["key"].as_str().expect("a text").to_owned()).collect()
}

/// How many signatures a webhook gets, and that each published key verifies it.
fn signatures(ring: &Ring, now: Instant) -> usize {
    let signature = sign(&ring.signing(now), "msg_1", 1, b"{}").expect("signed");
    for text in texts(&ring.public(now)) {
        let key = VerifyingKey::parse(&text).expect("a key");
        assert_eq!(verify(&[key], "msg_1", "1", &signature, b"{}", 1, 0), Ok(()), "{text}");
    }
    signature.split(' ').filter(|it| it.starts_with("v1a,")).count()
}

fn shown(keys: &[Key]) -> Vec<String> {
    let secret = |key: &Key| match key {
        Key::Secret(secret) => secret.expose(),
        Key::Ed25519(_) => panic!("no key is a secret"),
    };
    keys.iter().map(secret).collect()
}

on_both! {
    fn nodes_share_the_keys_of_webhooks_and_what_is_rotated_signs_along(server) {
        run(server, async |store| {
            let open = async |now| Keys::open(store.clone(), seal(server), now).await.expect("the keys");
            let (one, two) = (open(NOW).await, open(NOW).await);
            let first = one.ring().public(NOW);
            assert_eq!(first, two.ring().public(NOW));
            assert_eq!((signatures(&one.ring(), NOW), &first["keys"][0]["expires"]), (1, &Value::Null));

            let id = one.rotate(&settings(), Old::Overlaps, NOW).await.expect("rotated");
            let ring = one.ring();
            let both = ring.public(NOW);
            assert_eq!(signatures(&ring, NOW), 2);
            let mut ids = both["keys"].as_array().expect("a list").iter().map(|key| key["id"].as_str().expect("an id"));
            assert!(ids.any(|it| it == id), "{both}");
            assert!(texts(&both).contains(&texts(&first)[0]), "{both}");
            // The old one ends, the new one does not, and the others learn of it within a minute.
            assert_eq!(both["keys"].as_array().expect("a list").iter().filter(|key| key["expires"].is_null()).count(), 1);
            two.refresh_if_due(after(59 * SECOND)).await.expect("nothing to do");
            assert_eq!(two.ring().public(NOW), first);
            two.refresh_if_due(after(60 * SECOND)).await.expect("the keys");
            assert_eq!(two.ring().public(NOW), both);
            assert_eq!(signatures(&ring, after(7 * DAY - 1)), 2);
            let last = ring.public(after(7 * DAY));
            assert_eq!((signatures(&ring, after(7 * DAY)), last["keys"][0]["id"].as_str()), (1, Some(id.as_str())));

            let jwk = &ring.jwks(after(7 * DAY))["keys"][0];
            for (member, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig"), ("kid", &id)] {
                assert_eq!(jwk[member], value, "{jwk}");
            }
            let text = texts(&last)[0].replace("whpk_", "").replace('+', "-").replace('/', "_");
            assert_eq!(jwk["x"], text.trim_end_matches('='), "{jwk}");
            assert!(jwk.get("d").is_none(), "{jwk}");
        });
    }

    fn no_more_keys_overlap_than_a_header_bears_and_what_is_known_to_others_goes_at_once(server) {
        run(server, async |store| {
            let one = Keys::open(store.clone(), seal(server), NOW).await.expect("the keys");
            for day in 0..3 {
                one.rotate(&settings(), Old::Overlaps, after(day * DAY)).await.expect("rotated");
            }
            assert_eq!(signatures(&one.ring(), after(2 * DAY)), 4);
            let refused = one.rotate(&settings(), Old::Overlaps, after(2 * DAY)).await;
            assert!(matches!(refused, Err(KeysError::TooMany)), "{refused:?}");
            // A later rotation prolongs no key.
            assert_eq!(signatures(&one.ring(), after(7 * DAY)), 3);
            one.rotate(&settings(), Old::Overlaps, after(7 * DAY)).await.expect("rotated");
            one.rotate(&settings(), Old::Goes, after(7 * DAY)).await.expect("rotated");
            assert_eq!(signatures(&one.ring(), after(7 * DAY)), 1);

            // With another seal they cannot be read, but replaced.
            let lost = Keys::open(store.clone(), other_seal(), after(8 * DAY)).await;
            assert!(matches!(lost, Err(KeysError::Key(KeyError::OtherSeal { .. }))), "it must not open");
            keys::rotate(&store, &other_seal(), &settings(), Old::Goes, after(8 * DAY)).await.expect("rotated");
            let new = Keys::open(store.clone(), other_seal(), after(8 * DAY)).await.expect("the keys");
            assert_eq!(signatures(&new.ring(), after(8 * DAY)), 1);
        });
    }

    fn a_lane_has_secrets_of_its_own(server) {
        run(server, async |store| {
            let (one, two) = (Secrets::new(store.clone(), seal(server)), Secrets::new(store.clone(), seal(server)));
            assert_eq!(shown(&one.signing(LANE, NOW).await.expect("read")), Vec::<String>::new());
            let unknown = one.rotate(&settings(), LANE, None, Old::Overlaps, NOW).await;
            assert!(matches!(unknown, Err(KeysError::Unknown { .. })), "{unknown:?}");

            let first = one.create(LANE, None, NOW).await.expect("created").expose();
            assert_eq!(shown(&one.signing(LANE, NOW).await.expect("read")), std::slice::from_ref(&first));
            assert_eq!(shown(&two.signing(LANE, NOW).await.expect("read")), std::slice::from_ref(&first));
            let again = two.create(LANE, None, NOW).await;
            assert!(matches!(again, Err(KeysError::Exists { .. })), "{again:?}");

            let given = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
            let second = one.rotate(&settings(), LANE, Some(given.clone()), Old::Overlaps, NOW).await.expect("rotated");
            assert_eq!(second.expose(), given.expose());
            let both = [given.expose(), first.clone()];
            assert_eq!(shown(&one.signing(LANE, NOW).await.expect("read")), both);
            assert_eq!(shown(&two.signing(LANE, after(29 * SECOND)).await.expect("held")), [first]);
            assert_eq!(shown(&two.signing(LANE, after(30 * SECOND)).await.expect("read")), both);
            assert_eq!(shown(&one.signing(LANE, after(7 * DAY)).await.expect("read")), [given.expose()]);
            one.create("another", None, NOW).await.expect("created");
            let list = one.list(NOW).await.expect("listed");
            assert_eq!(list.iter().map(|it| it.lane.as_str()).collect::<Vec<_>>(), ["another", LANE]);
            assert_eq!(list[1].secrets, [(NOW, None), (NOW, Some(after(7 * DAY)))]);

            // One that became known goes at once; what sealed it does not matter.
            let other = Secrets::new(store.clone(), other_seal());
            let sealed = other.signing(LANE, NOW).await;
            assert!(matches!(sealed, Err(KeysError::Key(KeyError::OtherSeal { .. }))), "{sealed:?}");
            let third = other.rotate(&settings(), LANE, None, Old::Goes, NOW).await.expect("rotated").expose();
            assert_eq!(shown(&other.signing(LANE, NOW).await.expect("read")), [third]);

            assert!(other.remove(LANE).await.expect("removed") && !other.remove(LANE).await.expect("nothing to do"));
            assert_eq!(shown(&other.signing(LANE, NOW).await.expect("read")), Vec::<String>::new());
            other.create(LANE, None, NOW).await.expect("created");
        });
    }

    fn neither_keys_nor_secrets_are_legible_in_the_database(server) {
        use plumbline::store::conn::Conn;
        run(server, async |store| {
            Keys::open(store.clone(), seal(server), NOW).await.expect("the keys");
            let secret = Secrets::new(store.clone(), seal(server)).create(LANE, None, NOW).await.expect("created");
            let read = async |conn: &mut Conn| {
                let sql = conn.sql("SELECT kind, body FROM auth_record WHERE kind LIKE 'webhook-%' ORDER BY kind");
                type Text = diesel::sql_types::Text;
                conn.rows::<(Text, Text), (String, String)>(&sql).await
            };
            let rows = store.read(read).await.expect("the records");
            assert_eq!(rows.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["webhook-key", "webhook-secret"]);
            let text = secret.expose().replace("whsec_", "");
            for (_, body) in rows {
                assert!(!body.contains("whsk_") && !body.contains("whsec_") && !body.contains(&text), "{body}");
            }
        });
    }
}
