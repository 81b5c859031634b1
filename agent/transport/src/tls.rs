//! Encrypted connections: which certificates are trusted and shown, read from their files, and what
//! is wrong with them or with the other side's, in words a person can act on. rustls with ring.

mod anchors;
mod explain;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;
use zeroize::Zeroizing;

use anchors::Anchors;
pub use explain::{explain, explain_handshake};

use tidemill_base::files::{CERTIFICATES_BYTES_MAX, SECRET_BYTES_MAX, read_input, read_secret};

/// Interval between checks of the files for changes.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Trust anchors and client certificate of a connection, ready for use.
pub type Credentials = Arc<ClientConfig>;

/// The files of an encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted, and of servers that signed themselves; the
    /// system's when `None`.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key shown to the other side if it asks for them.
    pub client: Option<ClientFiles>,
    /// Interval between checks of the files for changes.
    pub look_every: Duration,
}

impl Default for TlsFiles {
    fn default() -> Self {
        Self {
            ca_file: None,
            client: None,
            look_every: LOOK_EVERY,
        }
    }
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, and those between it and its authority.
    pub cert_file: PathBuf,
    /// File of the certificate's private key.
    pub key_file: PathBuf,
}

/// The configuration key whose file is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// The trusted certificates.
    CaFile,
    /// Our certificate.
    CertFile,
    /// The certificate's key.
    KeyFile,
    /// None: the system's certificates were meant.
    System,
}

/// A fault in the files.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct TlsError {
    /// The key to correct.
    pub culprit: Culprit,
    why: String,
}

impl TlsError {
    fn new(culprit: Culprit, file: &Path, why: impl std::fmt::Display) -> Self {
        let why = format!("{} {why}", file.display());
        Self { culprit, why }
    }
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, has nothing of use in it, or does not fit the other.
    pub fn read(&self) -> Result<Credentials, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anchors = self.anchors(&provider)?;
        // `dangerous` is for verifiers other than the library's; this one only chooses the
        // arguments of the library's.
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anchors));
        let Some(ClientFiles {
            cert_file,
            key_file,
        }) = &self.client
        else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = certificates(Culprit::CertFile, cert_file)?;
        let key = private_key(key_file)?;
        let shows = shown_client(chain, &key).map_err(|error| {
            let shown = cert_file.display();
            let why = match error {
                rustls::Error::InconsistentKeys(_) => format!("is not the key of {shown}"),
                other => format!("cannot be used with {shown}: {other}"),
            };
            TlsError::new(Culprit::KeyFile, key_file, why)
        })?;
        Ok(Arc::new(builder.with_client_cert_resolver(Arc::new(shows))))
    }

    fn anchors(&self, provider: &Arc<CryptoProvider>) -> Result<Anchors, TlsError> {
        match &self.ca_file {
            Some(file) => trusted(file, provider),
            None => system_anchors(provider),
        }
    }

    /// Says of certificates in `ca_file` that nobody is trusted by now when they were or will be valid.
    pub fn out_of_time(&self, now: SystemTime) -> Vec<String> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let Some(file) = &self.ca_file else {
            return Vec::new();
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // A fault in the file itself is reported where the file is read.
        let told = trusted(file, &provider)
            .map(|anchors| anchors.out_of_time(i64::try_from(seconds).unwrap_or(i64::MAX)));
        let shown = file.display();
        let told = told.unwrap_or_default().into_iter();
        told.map(|why| format!("{shown}: {why}")).collect()
    }

    /// Says of the certificate that is shown to the other side when it was or will be valid, where it is not now.
    pub fn client_out_of_time(&self, now: SystemTime) -> Option<String> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let file = &self.client.as_ref()?.cert_file;
        let shown = certificates(Culprit::CertFile, file).ok()?;
        let why = anchors::out_of_time(shown.first()?, i64::try_from(seconds).ok()?)?;
        Some(format!("{}: {why}", file.display()))
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        let client = self.client.as_ref();
        [
            self.ca_file.as_deref(),
            client.map(|client| client.cert_file.as_path()),
            client.map(|client| client.key_file.as_path()),
        ]
        .into_iter()
        .flatten()
    }
}

fn certificates(culprit: Culprit, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_input(file, CERTIFICATES_BYTES_MAX)
        .map_err(|error| TlsError::new(culprit, file, format!("cannot be read: {error}")))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all =
        all.map_err(|error| TlsError::new(culprit, file, format!("is no PEM file: {error}")))?;
    if all.is_empty() {
        Err(TlsError::new(
            culprit,
            file,
            "has no certificate in it (-----BEGIN CERTIFICATE-----)",
        ))
    } else {
        Ok(all)
    }
}

fn trusted(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Anchors, TlsError> {
    let culprit = Culprit::CaFile;
    let certificates = certificates(culprit, file)?;
    let anchors = Anchors::of_file(file, certificates, Arc::clone(provider));
    anchors.map_err(|why| TlsError::new(culprit, file, why))
}

fn system_anchors(provider: &Arc<CryptoProvider>) -> Result<Anchors, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let anchors = Anchors::of_system(found.certs, Arc::clone(provider));
    if anchors.is_empty() {
        return Err(TlsError {
            culprit: Culprit::System,
            why: "this system has no certificates of authorities: install them (the package \
                  ca-certificates), or name your authority's in ca_file"
                .to_owned(),
        });
    }
    Ok(anchors)
}

/// The certificate that is shown to the other side. rustls does the same with a key that it does not wipe.
fn shown_client(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<SingleCertAndKey, rustls::Error> {
    let shown = CertifiedKey::new(chain, any_supported_type(key)?);
    match shown.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(shown.into())
        }
        Err(error) => Err(error),
    }
}

fn private_key(file: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, TlsError> {
    let culprit = Culprit::KeyFile;
    let bytes = read_secret(file, SECRET_BYTES_MAX)
        .map_err(|error| TlsError::new(culprit, file, format!("cannot be read: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let why = "has no private key in it that is not encrypted (-----BEGIN PRIVATE KEY-----)";
        TlsError::new(culprit, file, why)
    })?;
    Ok(Zeroizing::new(key))
}

/// Makes a connection to `host` an encrypted one.
///
/// # Errors
/// When the other side is not who it should be, or no encryption is agreed on;
/// [`explain_handshake`] explains the error.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    credentials: Credentials,
    host: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    TlsConnector::from(credentials).connect(name, stream).await
}

/// Notices when files change under a connection that was made with them.
#[derive(Debug, Clone)]
pub struct Watch {
    files: Option<TlsFiles>,
    stamps: Vec<Stamp>,
    /// Stamps of files that were found unusable.
    useless: Vec<Stamp>,
    next_look: Instant,
}

/// Modification time and length of a file, to notice a change.
type Stamp = Option<(SystemTime, u64)>;

impl Watch {
    /// Begins; to be called before the files are read.
    pub fn new(files: Option<TlsFiles>) -> Self {
        let stamps = files.as_ref().map_or_else(Vec::new, stamps);
        let look_every = files.as_ref().map_or(LOOK_EVERY, |files| files.look_every);
        Self {
            files,
            stamps,
            useless: Vec::new(),
            next_look: Instant::now() + look_every,
        }
    }

    /// Time of the next check; `None` if there are no files to check.
    pub fn next_look(&self) -> Option<Instant> {
        (!self.stamps.is_empty()).then_some(self.next_look)
    }

    /// Checks, if it is time, whether the files have changed and are good. While they are being
    /// replaced they are not, and an open connection is better than none.
    pub fn has_changed(&mut self, now: Instant) -> bool {
        let Some(files) = self.files.as_ref().filter(|_| now >= self.next_look) else {
            return false;
        };
        self.next_look = now + files.look_every;
        let stamps = stamps(files);
        if stamps == self.stamps || stamps.iter().any(Option::is_none) {
            return false;
        }
        let Err(error) = files.read() else {
            return true;
        };
        if stamps != self.useless {
            warn!("certificates changed, but the connection stays as it is: {error}");
            self.useless = stamps;
        }
        false
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let stamp = |file: &Path| {
        let about = std::fs::metadata(file).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    files.all().map(stamp).collect()
}

#[cfg(test)]
mod tests;
