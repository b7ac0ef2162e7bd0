//! TLS of the server itself: the certificate, how it is renewed while the server runs, and certificates of clients.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_tls::accept::openssl::TlsStream;
use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use arc_swap::ArcSwap;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslVerifyMode,
    SslVersion, select_next_proto,
};
use openssl::x509::X509;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::ClientCertificates;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What the server speaks, best first, each after its length (RFC 7301, 3.1).
const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1\x08http/1.0";
/// Sessions that are kept so that a client can take one up again, each some KB.
const SESSIONS_MAX: i32 = 4_096;
/// Sessions are taken up again only where they began: by a server for this purpose.
const SESSION_CONTEXT: &[u8] = b"plumbline";

/// The certificate that a client showed, and whose private key it has: one for the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of its DER: the `x5t#S256` of RFC 8705, 3.1, before base64url.
    pub sha256: [u8; 32],
}

/// The digest of the certificate with which the client of a request proved itself; `None` when it showed none.
///
/// Neither its chain nor its dates are checked: it is worth what is known about this very certificate.
pub fn client_certificate(request: &HttpRequest) -> Option<[u8; 32]> {
    request.conn_data::<ClientCertificate>().map(|certificate| certificate.sha256)
}

/// Keeps with a connection which certificate its client showed.
pub(super) fn remember(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    let digest = stream.ssl().peer_certificate().and_then(|shown| shown.digest(MessageDigest::sha256()).ok());
    if let Some(sha256) = digest.and_then(|digest| <[u8; 32]>::try_from(digest.as_ref()).ok()) {
        data.insert(ClientCertificate { sha256 });
    }
}

/// A certificate in use, and the files that it comes from.
#[derive(Clone)]
pub struct Tls {
    paths: Paths,
    clients: ClientCertificates,
    /// What each new connection gets.
    current: Arc<ArcSwap<SslContext>>,
    /// Of the files, when they were first read.
    digest: Digest,
}

#[derive(Clone)]
struct Paths {
    certificate: PathBuf,
    key: PathBuf,
}

/// SHA-256 of both files.
type Digest = [u8; 32];

impl Tls {
    /// Reads a certificate, with its chain after it, and its private key: PEM files.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it, and what is wanted.
    pub fn load(certificate: &Path, key: &Path, clients: ClientCertificates) -> Result<Self, String> {
        let paths = Paths { certificate: certificate.to_owned(), key: key.to_owned() };
        let files = paths.read()?;
        let context = context(&paths, &files, clients)?.build().into_context();
        Ok(Self { paths, clients, current: Arc::new(ArcSwap::from_pointee(context)), digest: files.digest() })
    }

    /// For a listener: it hands each connection over to the newest certificate.
    pub(super) fn acceptor(&self) -> Result<SslAcceptorBuilder, String> {
        let mut builder = context(&self.paths, &self.paths.read()?, self.clients)?;
        let current = Arc::clone(&self.current);
        builder.set_client_hello_callback(move |connection, _alert| {
            connection.set_ssl_context(&current.load())?;
            Ok(ClientHelloResponse::SUCCESS)
        });
        Ok(builder)
    }

    /// Reads the files again every minute and on SIGHUP. When they cannot be used, the old certificate stays and the log
    /// says why: once for each change, and whenever the signal asks.
    ///
    /// # Errors
    /// When the signal cannot be handled.
    pub(super) fn watch(self) -> io::Result<()> {
        let mut asked = signal(SignalKind::hangup())?;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        actix_web::rt::spawn(async move {
            let mut last = Ok(self.digest);
            loop {
                let is_asked = tokio::select! {
                    _ = asked.recv() => true,
                    _ = looks.tick() => false,
                };
                let paths = self.paths.clone();
                // Files can be slow, and this thread may serve requests.
                let Ok(read) = tokio::task::spawn_blocking(move || paths.read()).await else { return };
                let found = read.as_ref().map(Files::digest).map_err(String::clone);
                if is_asked || found != last {
                    self.renew(read);
                }
                last = found;
            }
        });
        Ok(())
    }

    fn renew(&self, read: Result<Files, String>) {
        match read.and_then(|files| context(&self.paths, &files, self.clients)) {
            Ok(builder) => {
                self.current.store(Arc::new(builder.build().into_context()));
                tracing::info!(certificate = %self.paths.certificate.display(), "the TLS certificate was read again");
            }
            Err(sentence) => tracing::error!("the TLS certificate in use stays: {sentence}"),
        }
    }
}

/// What is in the two files.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Times of changes say less: links can be turned to other files, and clocks set.
    fn digest(&self) -> Digest {
        let mut digest = Sha256::new();
        digest.update(&self.certificate);
        digest.update(&self.key);
        digest.finish()
    }
}

impl Paths {
    fn read(&self) -> Result<Files, String> {
        let read = |what: &str, file: &Path| {
            std::fs::read(file).map_err(|error| format!("the {what} {} cannot be read: {error}", file.display()))
        };
        Ok(Files {
            certificate: read("TLS certificate (server.tls_cert)", &self.certificate)?,
            key: read("TLS key (server.tls_key)", &self.key)?,
        })
    }
}

/// TLS 1.2 and 1.3 with Mozilla's intermediate ciphers, and the certificate.
fn context(paths: &Paths, files: &Files, clients: ClientCertificates) -> Result<SslAcceptorBuilder, String> {
    let chain = X509::stack_from_pem(&files.certificate).ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
        format!(
            "{} (server.tls_cert) holds no certificate in PEM; it begins with the server's own, and the chain follows",
            paths.certificate.display()
        )
    })?;
    // Without the callback OpenSSL would ask for a passphrase on the terminal.
    let key = PKey::private_key_from_pem_callback(&files.key, |_passphrase| Ok(0)).map_err(|_unreadable| {
        format!(
            "{} (server.tls_key) holds no private key in PEM that can be read without a passphrase",
            paths.key.display()
        )
    })?;
    let mut chain = chain.into_iter();
    let own = chain.next().filter(|own| own.public_key().is_ok_and(|public| public.public_eq(&key))).ok_or_else(|| {
        format!(
            "the key in {} (server.tls_key) does not belong to the first certificate in {} (server.tls_cert); put the server's own certificate first, and give its key",
            paths.key.display(),
            paths.certificate.display()
        )
    })?;
    builder(&own, chain, &key, clients)
        .map_err(|error| format!("{} (server.tls_cert) cannot be used: {error}", paths.certificate.display()))
}

fn builder(
    own: &X509,
    chain: impl Iterator<Item = X509>,
    key: &PKey<Private>,
    clients: ClientCertificates,
) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // Tickets would be encrypted with one key for as long as the server runs; whoever gets it reads all that was said.
    builder.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET);
    builder.set_session_cache_size(SESSIONS_MAX);
    builder.set_session_id_context(SESSION_CONTEXT)?;
    builder.set_certificate(own)?;
    for issuer in chain {
        builder.add_extra_chain_cert(issuer)?;
    }
    builder.set_private_key(key)?;
    builder.check_private_key()?;
    // The listener chooses in the same way, but only for the certificate that it began with. Who speaks neither is sent
    // away: it means another server (RFC 7301, 3.2).
    builder.set_alpn_select_callback(|_, offered| select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::ALERT_FATAL));
    if clients == ClientCertificates::Optional {
        // That it has the key, the handshake proves. Nobody needs to have signed it (RFC 8705, 2.2).
        builder.set_verify_callback(SslVerifyMode::PEER, |_is_trusted, _chain| true);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use actix_web::{App, HttpServer, web};
    use openssl::asn1::Asn1Time;
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;
    use openssl::ssl::SslConnector;
    use openssl::x509::X509NameBuilder;

    use super::*;

    type Pair = (X509, PKey<Private>);

    /// A certificate that has signed itself, and its dates are long past if it is old.
    fn pair(is_old: bool) -> Result<Pair, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "test")?;
        let name = name.build();
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        let start = Asn1Time::from_unix(0)?;
        builder.set_not_before(&start)?;
        let end = if is_old { Asn1Time::from_unix(86_400)? } else { Asn1Time::days_from_now(1)? };
        builder.set_not_after(&end)?;
        builder.set_pubkey(&key)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok((builder.build(), key))
    }

    /// What the handler below says to a client.
    fn asked(port: u16, version: SslVersion, own: Option<&Pair>) -> String {
        let mut client = SslConnector::builder(SslMethod::tls_client()).expect("a client");
        client.set_verify(SslVerifyMode::NONE);
        client.set_max_proto_version(Some(version)).expect("a version");
        if let Some((certificate, key)) = own {
            client.set_certificate(certificate).expect("a certificate");
            client.set_private_key(key).expect("a key");
        }
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let mut stream = client.build().connect("localhost", stream).expect("a handshake");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        let _end = stream.read_to_string(&mut answer);
        answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
    }

    async fn show(request: HttpRequest) -> String {
        client_certificate(&request).map_or_else(|| "none".to_owned(), |digest| format!("{digest:?}"))
    }

    #[actix_web::test]
    async fn handlers_know_the_certificate_of_a_client() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let files = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let (certificate, key) = pair(false).expect("a certificate");
        std::fs::write(&files[0], certificate.to_pem().expect("PEM")).expect("a file");
        std::fs::write(&files[1], key.private_key_to_pem_pkcs8().expect("PEM")).expect("a file");
        for (clients, is_known) in [(ClientCertificates::Optional, true), (ClientCertificates::Off, false)] {
            let acceptor = Tls::load(&files[0], &files[1], clients).and_then(|tls| tls.acceptor()).expect("TLS");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("a port").port();
            let server = HttpServer::new(|| App::new().route("/", web::get().to(show))).workers(1).on_connect(remember);
            let server = server.disable_signals().listen_openssl(listener, acceptor).expect("a server").run();
            let handle = server.handle();
            actix_web::rt::spawn(server);
            let clients = move || {
                // Nobody has signed it, and it has expired: it is as good as another.
                for own in [pair(false), pair(true)].map(|pair| pair.expect("a certificate")) {
                    let digest = openssl::sha::sha256(&own.0.to_der().expect("DER"));
                    let expected = if is_known { format!("{digest:?}") } else { "none".to_owned() };
                    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
                        assert_eq!(asked(port, version, Some(&own)), expected);
                        assert_eq!(asked(port, version, None), "none");
                    }
                }
            };
            tokio::task::spawn_blocking(clients).await.expect("no panic");
            handle.stop(false).await;
        }
    }
}
