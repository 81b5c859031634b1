//! The certificates that are trusted, and what each is trusted for: an authority signs servers while it is
//! valid, and a server that signed its own certificate is trusted as itself and signs nobody.
//!
//! The library takes whatever it is given as an authority for ever. Time is looked at when a connection is
//! made and not when the files are read: a gateway without a clock starts in 1970, and may connect once it
//! was set.

mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

pub(super) use error::{AnchorError, date};

/// The use that a certificate is trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// An authority that signs other certificates.
    Authority,
    /// A server's self-signed certificate.
    Itself,
    /// Neither: it was signed by somebody else, and may sign nobody.
    Nothing,
}

/// A certificate that was named as trusted.
#[derive(Debug)]
pub(super) struct Anchor {
    der: CertificateDer<'static>,
    /// In seconds since 1970.
    not_before: i64,
    not_after: i64,
    usage: Use,
    /// The most authorities that may stand between it and a server; any number if `None`.
    between_max: Option<u32>,
}

/// Certificates that a server shows beyond its own and that are looked at for an authority that allows
/// some between only.
const BETWEEN_MAX: usize = 8;

impl Anchor {
    fn new(der: CertificateDer<'static>) -> Result<Self, String> {
        // The library has to be able to use it as well.
        RootCertStore::empty()
            .add(der.clone())
            .map_err(|error| error.to_string())?;
        let (_, read) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let usage = usage(&read).map_err(|error| error.to_string())?;
        let constraints = read.basic_constraints();
        let constraints = constraints.map_err(|error| error.to_string())?;
        let between_max = constraints.and_then(|it| it.value.path_len_constraint);
        let validity = read.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        Ok(Self {
            not_before,
            not_after,
            usage,
            between_max,
            der,
        })
    }

    fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    fn is_authority_at(&self, now: i64) -> bool {
        self.usage == Use::Authority && self.is_valid_at(now)
    }

    /// Why it makes nobody trusted at this time.
    fn trouble(&self, place: String, now: i64) -> Option<AnchorError> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        match self.usage {
            Use::Authority if now > not_after => Some(AnchorError::Expired {
                place,
                not_after,
                now,
            }),
            Use::Authority if now < not_before => Some(AnchorError::NotYet {
                place,
                not_before,
                now,
            }),
            Use::Authority => None,
            Use::Itself | Use::Nothing => Some(AnchorError::NoAuthority { place }),
        }
    }
}

/// Says of a certificate when it was or will be valid, where it is not now.
pub(super) fn out_of_time(certificate: &CertificateDer<'_>, now: i64) -> Option<String> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let validity = read.validity();
    let (from, to) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    if now > to {
        Some(format!("it expired on {}: put a new one there", date(to)))
    } else if now < from {
        let (from, now) = (date(from), date(now));
        Some(format!(
            "it is valid from {from} on, and it is {now} here: is this clock right?"
        ))
    } else {
        None
    }
}

/// A certificate of version 1 cannot say what it is for: one that signed itself is an authority's because
/// it was named as trusted.
fn usage(read: &X509Certificate<'_>) -> Result<Use, X509Error> {
    let signed_itself = read.subject().as_raw() == read.issuer().as_raw();
    let may_sign = match read.version() {
        X509Version::V3 => {
            let is_ca = read.basic_constraints()?.is_some_and(|it| it.value.ca);
            let signs = read.key_usage()?;
            let serves = read.extended_key_usage()?;
            is_ca
                && signs.is_none_or(|it| it.value.key_cert_sign())
                && serves.is_none_or(|it| it.value.any || it.value.server_auth)
        }
        _ => signed_itself,
    };
    Ok(match (may_sign, signed_itself) {
        (true, _) => Use::Authority,
        (false, true) => Use::Itself,
        (false, false) => Use::Nothing,
    })
}

/// All certificates that are trusted, and the judge of servers by them.
#[derive(Debug)]
pub(super) struct Anchors {
    all: Vec<Anchor>,
    /// The file that they come from; `None`: the system.
    file: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
}

impl Anchors {
    /// Takes the certificates of a file.
    ///
    /// # Errors
    /// When one cannot be read, or none is of any use.
    pub(super) fn of_file(
        file: &Path,
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let all = certificates.into_iter().map(Anchor::new);
        let all = all
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("has a certificate that cannot be used: {error}"))?;
        if all.iter().all(|anchor| anchor.usage == Use::Nothing) {
            Err(
            "has no certificate of an authority for servers (CA:TRUE, keyCertSign), and none of a server \
             that signed itself: name that of the authority that signed the server's"
                .to_owned(),
        )
        } else {
            Ok(Self {
                all,
                file: Some(file.to_owned()),
                provider,
            })
        }
    }

    /// Takes those of the system. Systems carry certificates that nobody can read any more: those do not count.
    pub(super) fn of_system(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let all = certificates.into_iter().map(Anchor::new);
        Self {
            all: all.filter_map(Result::ok).collect(),
            file: None,
            provider,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Says of certificates that are out of their time when they were or will be valid.
    pub(super) fn out_of_time(&self, now: i64) -> Vec<String> {
        let numbered = self.all.iter().zip(1_usize..);
        let told = numbered.filter_map(|(anchor, number)| {
            let certificate = match self.all.len() {
                1 => "its certificate".to_owned(),
                _ => format!("certificate {number} in it"),
            };
            let (not_before, not_after) = (date(anchor.not_before), date(anchor.not_after));
            if anchor.usage == Use::Nothing || anchor.is_valid_at(now) {
                None
            } else if now > anchor.not_after {
                Some(format!(
                    "{certificate} expired on {not_after}: put the new one there"
                ))
            } else {
                Some(format!(
                    "{certificate} is valid from {not_before} on, and it is {} here: is this clock right?",
                    date(now)
                ))
            }
        });
        told.collect()
    }

    /// Asks the library, with those certificates as authorities.
    fn judge<'a>(
        &self,
        anchors: impl Iterator<Item = &'a Anchor>,
        server: &Shown<'_>,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor.der.clone())?;
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let roots = Arc::new(roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let verifier = verifier
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(
            server.certificate,
            server.between,
            server.name,
            &[],
            server.now,
        )
    }

    /// The authority that allows fewer others between itself and a server than there are, where none
    /// else makes the server trusted. The library knows such a limit of those between alone.
    fn too_far(&self, server: &Shown<'_>) -> Option<AnchorError> {
        let seconds = server.seconds();
        let valid = || {
            self.all
                .iter()
                .filter(|anchor| anchor.is_authority_at(seconds))
        };
        let limited = || valid().filter_map(|anchor| Some((anchor, anchor.between_max?)));
        limited().next()?;
        let free = valid().filter(|anchor| anchor.between_max.is_none());
        if self.judge(free, server).is_ok() {
            return None;
        }
        let shown = server.between.get(..BETWEEN_MAX).unwrap_or(server.between);
        let is_near = |(anchor, most): (&Anchor, u32)| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            // Any of them may be the ones that matter.
            let some = (0_u32..1 << shown.len()).filter(|some| some.count_ones() as usize <= most);
            let mut some = some.map(|some| {
                let each = (0..).zip(shown);
                let each = each.filter(|(place, _)| some & (1 << place) != 0);
                each.map(|(_, der)| der.clone()).collect::<Vec<_>>()
            });
            some.any(|between| self.signs(anchor, &between, server))
        };
        if limited().any(is_near) {
            return None;
        }
        let (_, most) = limited().find(|(anchor, _)| self.signs(anchor, server.between, server))?;
        let place = self.place();
        Some(AnchorError::TooFar { place, most })
    }

    /// `true` if one authority makes the server trusted, with these between.
    fn signs(&self, anchor: &Anchor, between: &[CertificateDer<'_>], server: &Shown<'_>) -> bool {
        let server = Shown {
            certificate: server.certificate,
            between,
            name: server.name,
            now: server.now,
        };
        self.judge(std::iter::once(anchor), &server).is_ok()
    }

    fn place(&self) -> String {
        match &self.file {
            Some(file) => format!("in ca_file ({})", file.display()),
            None => "among the system's".to_owned(),
        }
    }

    /// The certificate that would make the server trusted if it were another one, and why it does not.
    fn culprit(&self, server: &Shown<'_>) -> Option<AnchorError> {
        let now = server.seconds();
        let place = self.place();
        self.all.iter().find_map(|anchor| {
            let trouble = anchor.trouble(place.clone(), now)?;
            let signed = self.judge(std::iter::once(anchor), server);
            let is_stranger = signed.as_ref().is_err_and(is_unknown);
            (!is_stranger).then_some(trouble)
        })
    }
}

/// The certificates that a server shows.
struct Shown<'a> {
    certificate: &'a CertificateDer<'a>,
    between: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    now: UnixTime,
}

impl Shown<'_> {
    fn seconds(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Nobody who was asked has signed it.
fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    )
}

impl ServerCertVerifier for Anchors {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let server = Shown {
            certificate,
            between,
            name,
            now,
        };
        let is_shown = |anchor: &&Anchor| anchor.usage == Use::Itself && anchor.der == *certificate;
        if let Some(own) = self.all.iter().find(is_shown) {
            return self.judge(std::iter::once(own), &server);
        }
        let seconds = server.seconds();
        let authorities = self.all.iter();
        let authorities = authorities.filter(|anchor| anchor.is_authority_at(seconds));
        let judged = self.judge(authorities, &server);
        let why = match &judged {
            Ok(_) => self.too_far(&server),
            Err(error) if is_unknown(error) => self.culprit(&server),
            Err(_) => None,
        };
        match why {
            Some(why) => Err(CertificateError::Other(OtherError(Arc::new(why))).into()),
            None => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
