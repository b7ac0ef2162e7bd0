//! Certificates for one test.

use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use tempfile::TempDir;

/// A certificate and its key.
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl Pair {
    /// A certificate for `name`, an authority or a server at 127.0.0.1, signed by `issuer` or by itself.
    pub fn new(name: &str, is_authority: bool, issuer: Option<&Self>) -> Self {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key = PKey::from_ec_key(EcKey::generate(&curve).expect("a key")).expect("a key");
        let mut subject = X509Name::builder().expect("a name");
        subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
        let subject = subject.build();
        let mut builder = X509::builder().expect("a certificate");
        builder.set_version(2).expect("version 3");
        let mut serial = [0; 8];
        openssl::rand::rand_bytes(&mut serial).expect("random bytes");
        let serial = BigNum::from_slice(&serial).and_then(|serial| serial.to_asn1_integer()).expect("a number");
        builder.set_serial_number(&serial).expect("a number");
        builder.set_subject_name(&subject).expect("a name");
        builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.certificate.subject_name())).expect("a name");
        builder.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
        builder.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("a time");
        builder.set_pubkey(&key).expect("a key");
        if is_authority {
            let is_authority = BasicConstraints::new().critical().ca().build().expect("an extension");
            builder.append_extension(is_authority).expect("an extension");
        } else {
            let context = builder.x509v3_context(None, None);
            let names = SubjectAlternativeName::new().ip("127.0.0.1").dns("localhost").build(&context);
            builder.append_extension(names.expect("an extension")).expect("an extension");
        }
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).expect("a signature");
        Self { certificate: builder.build(), key }
    }
}

/// A server's certificate in files, with the chain to a root.
pub struct Issued {
    pub root: Pair,
    pub own: Pair,
    /// Of the certificate and of the key.
    files: (String, String),
    folder: TempDir,
}

impl Issued {
    pub fn new() -> Self {
        let root = Pair::new("root", true, None);
        let between = Pair::new("between", true, Some(&root));
        let own = Pair::new("first", false, Some(&between));
        let folder = TempDir::new().expect("a folder");
        let file = |name| folder.path().join(name).to_str().expect("a path in UTF-8").to_owned();
        let issued = Self { root, own, files: (file("cert.pem"), file("key.pem")), folder };
        issued.write(&[&issued.own, &between], &issued.own);
        issued
    }

    /// Puts other certificates and another key into the files.
    pub fn write(&self, chain: &[&Pair], key: &Pair) {
        let pem: Vec<u8> = chain.iter().flat_map(|pair| pair.certificate.to_pem().expect("PEM")).collect();
        std::fs::write(self.path("cert.pem"), pem).expect("a file");
        std::fs::write(self.path("key.pem"), key.key.private_key_to_pem_pkcs8().expect("PEM")).expect("a file");
    }

    /// Puts the key into its file behind a passphrase.
    pub fn lock(&self) {
        let pem = self.own.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").expect("PEM");
        std::fs::write(self.path("key.pem"), pem).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn certificate_file(&self) -> &str {
        &self.files.0
    }

    pub fn key_file(&self) -> &str {
        &self.files.1
    }
}
