//! Certificates made on the spot, good ones and others.

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    /// An authority's certificate, and one with its key that it signed.
    fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = params.self_signed(&authority).unwrap();
        files.write("ca", &ca.pem());
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["gw".to_owned()]).unwrap();
        let issuer = rcgen::CertificateParams::new(vec![]).unwrap();
        let issuer = rcgen::Issuer::new(issuer, authority);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        files.write("cert", &certificate.pem());
        files.write("key", &key.serialize_pem());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        tidemill_tests::write_secret(&self.path(name), text);
    }

    fn tls(&self) -> TlsFiles {
        TlsFiles {
            ca_file: Some(self.path("ca")),
            client: Some(ClientFiles {
                cert_file: self.path("cert"),
                key_file: self.path("key"),
            }),
            look_every: Duration::ZERO,
        }
    }
}

#[track_caller]
fn refused(files: &Files, culprit: Culprit, why: &str) {
    let error = files.tls().read().unwrap_err();
    assert_eq!(error.culprit, culprit, "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let files = Files::make();
    files.tls().read().unwrap();
    files.write("cert", "");
    refused(&files, Culprit::CertFile, "cert has no certificate in it");
    let files = Files::make();
    files.write("ca", &std::fs::read_to_string(files.path("key")).unwrap());
    refused(&files, Culprit::CaFile, "ca has no certificate in it");
    files.write(
        "ca",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    refused(&files, Culprit::CaFile, "ca is no PEM file");
    files.write(
        "ca",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    refused(
        &files,
        Culprit::CaFile,
        "ca has a certificate that cannot be used",
    );
    std::fs::remove_file(files.path("ca")).unwrap();
    refused(&files, Culprit::CaFile, "ca cannot be read: No such file");
    let files = Files::make();
    files.write("key", "-----BEGIN");
    refused(&files, Culprit::KeyFile, "key has no private key in it");
    let other = Files::make();
    files.write("key", &std::fs::read_to_string(other.path("key")).unwrap());
    refused(&files, Culprit::KeyFile, "key is not the key of");
}

#[test]
fn a_changed_file_is_noticed_once_all_are_there() {
    let files = Files::make();
    let mut watch = Watch::new(Some(files.tls()));
    assert!(!watch.has_changed(Instant::now()));
    std::fs::remove_file(files.path("key")).unwrap();
    assert!(!watch.has_changed(Instant::now()), "it is being replaced");
    let other = Files::make();
    let copy = |name| files.write(name, &std::fs::read_to_string(other.path(name)).unwrap());
    copy("key");
    files.write("cert", "longer than before: ".repeat(99).as_str());
    assert!(!watch.has_changed(Instant::now()), "they do not fit yet");
    copy("cert");
    assert!(watch.has_changed(Instant::now()));
    let mut none = Watch::new(None);
    assert!(none.next_look().is_none() && !none.has_changed(Instant::now()));
    let mut system = Watch::new(Some(TlsFiles::default()));
    assert!(system.next_look().is_none() && !system.has_changed(Instant::now()));
}
