//! Certificates made on the spot: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidemill::tls::{ClientFiles, TlsFiles};

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
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, host, Valid::Now).self_signed(&key).unwrap();
        self.keep(name, &certificate, &key);
    }

    fn keep(&self, name: &str, certificate: &Certificate, key: &KeyPair) {
        self.write(&format!("{name}.cert"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there at once, as whoever renews certificates should.
    fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// What a client needs that trusts this authority.
    pub(crate) fn trusting(&self) -> TlsFiles {
        TlsFiles {
            ca_file: Some(self.path("ca")),
            client: None,
            look_every: Duration::from_millis(50),
        }
    }

    /// What a client needs that shows the certificate `name` besides.
    pub(crate) fn showing(&self, name: &str) -> TlsFiles {
        TlsFiles {
            client: Some(ClientFiles {
                cert_file: self.path(&format!("{name}.cert")),
                key_file: self.path(&format!("{name}.key")),
            }),
            ..self.trusting()
        }
    }

    /// What a server needs that has the certificate `name`; `asks`: and wants to see one of ours.
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
        let builder = match asks {
            false => builder.with_no_client_auth(),
            true => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .unwrap(),
            ),
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

/// Authorities of the same name would look like one.
fn rand_name() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
