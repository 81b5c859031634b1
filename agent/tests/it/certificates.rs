//! Certificates made on the spot: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    SigningKey as _,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidemill_transport::tls::{ClientFiles, TlsFiles};

/// An authority with a directory for its files; `ca` there is its certificate.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When certificates are valid: the library counts from 1975 to 4096 unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    Now,
    Before,
    Later,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// One that is made otherwise.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let name = format!("authority {}", rand_name());
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
        };
        authority.write("ca", &authority.issuer.pem());
        authority
    }

    /// Signs a certificate for a host and writes it to `<name>.cert`, its key to `<name>.key`.
    pub(crate) fn sign(&self, name: &str, host: &str, valid: Valid) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, host, valid)
            .signed_by(&key, &self.issuer)
            .unwrap();
        self.keep(name, &certificate, &key);
    }

    /// As [`Self::sign`], but signed by nobody else.
    pub(crate) fn sign_itself(&self, name: &str, host: &str) {
        self.sign_itself_when(name, host, Valid::Now);
    }

    /// As [`Self::sign_itself`], with a time.
    pub(crate) fn sign_itself_when(&self, name: &str, host: &str, valid: Valid) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, host, valid).self_signed(&key).unwrap();
        self.keep(name, &certificate, &key);
    }

    /// An authority below this one: its certificate stands in its `ca`, signed by this one.
    pub(crate) fn below(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let name = format!("authority {}", rand_name());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        let below = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
        };
        below.write("ca", &below.issuer.pem());
        below
    }

    /// Lets servers show the certificates of `others` behind `name`.
    pub(crate) fn lengthen(&self, name: &str, others: &[&Self]) {
        let file = format!("{name}.cert");
        let mut chain = std::fs::read_to_string(self.path(&file)).unwrap();
        chain.extend(others.iter().map(|other| other.issuer.pem()));
        self.write(&file, &chain);
    }

    /// As [`Self::sign`], of version 1 of X.509: without a version and without extensions, as `openssl x509
    /// -req` makes it where it is told of none.
    pub(crate) fn sign_version_1(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, host, Valid::Now)
            .signed_by(&key, &self.issuer)
            .unwrap();
        self.keep(name, &certificate, &key);
        // The signed part, the algorithm, and the signature.
        let [signed, algorithm, _] = &*parts(content(certificate.der())) else {
            panic!("a certificate has three parts")
        };
        let parts = parts(content(signed)).into_iter();
        let of_version_1 = parts.filter(|part| !matches!(part[0], 0xa0 | 0xa3));
        let signed = sequence(&of_version_1.collect::<Vec<_>>());
        let signature = self.issuer.key().sign(&signed).unwrap();
        let bits = tagged(0x03, &[&[0], &signature[..]].concat());
        let certificate = sequence(&[&signed, algorithm, &bits]);
        let pem = pem_of(&certificate);
        self.write(&format!("{name}.cert"), &pem);
    }

    fn keep(&self, name: &str, certificate: &Certificate, key: &KeyPair) {
        self.write(&format!("{name}.cert"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there at once, as whoever renews certificates should.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        tidemill_tests::write_secret(&new, text);
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// Files of a client that trusts this authority.
    pub(crate) fn trusting(&self) -> TlsFiles {
        TlsFiles {
            ca_file: Some(self.path("ca")),
            client: None,
            look_every: Duration::from_millis(50),
        }
    }

    /// Files of a client that shows the certificate `name` besides.
    pub(crate) fn showing(&self, name: &str) -> TlsFiles {
        TlsFiles {
            client: Some(ClientFiles {
                cert_file: self.path(&format!("{name}.cert")),
                key_file: self.path(&format!("{name}.key")),
            }),
            ..self.trusting()
        }
    }

    /// Configuration of a server with the certificate `name`; `asks`: it wants to see one of ours.
    pub(crate) fn server(&self, name: &str, asks: bool) -> ServerConfig {
        let chain = CertificateDer::pem_file_iter(self.path(&format!("{name}.cert"))).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if !asks {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .unwrap(),
            )
        };
        builder.with_single_cert(chain, key).unwrap()
    }

    /// Lines of mosquitto's configuration for a listener with the certificate `name`.
    pub(crate) fn listener(&self, name: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        format!(
            "cafile {}\ncertfile {}\nkeyfile {}\n",
            shown(&self.path("ca")),
            shown(&self.path(&format!("{name}.cert"))),
            shown(&self.path(&format!("{name}.key")))
        )
    }
}

fn params(name: &str, host: &str, valid: Valid) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    match valid {
        Valid::Now => {}
        Valid::Before => params.not_after = rcgen::date_time_ymd(2020, 1, 2),
        Valid::Later => params.not_before = rcgen::date_time_ymd(3020, 1, 2),
    }
    params
}

/// Start and end of the content of a DER value.
fn extent(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ ..0x80 => (2, 2 + usize::from(short)),
        long => {
            let start = 2 + usize::from(long & 0x7f);
            let len = der[2..start]
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (start, start + len)
        }
    }
}

fn content(der: &[u8]) -> &[u8] {
    let (start, end) = extent(der);
    &der[start..end]
}

/// The values of DER that stand behind each other.
fn parts(mut all: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !all.is_empty() {
        let (part, rest) = all.split_at(extent(all).1);
        parts.push(part);
        all = rest;
    }
    parts
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match u8::try_from(len) {
        Ok(short @ ..0x80) => vec![tag, short],
        Ok(long) => vec![tag, 0x81, long],
        Err(_) => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [&head, content].concat()
}

fn pem_of(der: &[u8]) -> String {
    let text = tidemill_values::to_json(&tidemill_values::Value::bytes(der));
    let lines = text.trim_matches('"').as_bytes().chunks(64);
    let lines: Vec<_> = lines.map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// Authorities of the same name would look like one.
fn rand_name() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
