//! Why no encrypted connection came to be, as a sentence with the way out.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::anchors::{AnchorError, date};

/// Explains an error if encryption is involved.
pub fn explain(error: &io::Error) -> Option<String> {
    if let Some(inner) = error.get_ref() {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return Some(sentence(error));
        }
        if inner.is::<rustls::pki_types::InvalidDnsNameError>() {
            return Some("the host in url is no name that a certificate could have".to_owned());
        }
        // Libraries wrap errors of sockets in errors of sockets.
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return explain(error);
        }
    }
    None
}

/// Like [`explain`], for an error during the handshake.
pub fn explain_handshake(error: &io::Error) -> Option<String> {
    let closed = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    explain(error).or_else(|| {
        let why = "the connection was closed when encryption began: is that port one with TLS?";
        closed.then(|| why.to_owned())
    })
}

/// Explains an error of rustls.
fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) => {
            "what came is no TLS: is that port one with TLS, or does url want no \"s\"?".to_owned()
        }
        Error::PeerIncompatible(_) => {
            "both sides have no version or cipher of TLS in common (1.2 and 1.3 are spoken here)"
                .to_owned()
        }
        other => format!("no encrypted connection came to be: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "its certificate has expired: renew it there".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired on {}, and it is {} here: renew it there, or set this \
             gateway's clock",
            date_of(*not_after),
            date_of(*time)
        ),
        CertificateError::NotValidYet => {
            "its certificate is not valid yet: set this gateway's clock".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid from {} on, and it is {} here: set this gateway's clock",
            date_of(*not_before),
            date_of(*time)
        ),
        CertificateError::NotValidForName => {
            "its certificate is for another name than the host in url".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            let expected = expected.to_str();
            if names.is_empty() {
                return format!(
                    "its certificate is for no name at all (the common name of its subject is none): \
                     {}",
                    with_a_name(&expected)
                );
            }
            let names = names.join(", ");
            format!(
                "its certificate is for {names}, not for {expected}: write a name that it has in url, \
                 or give it a certificate for this one"
            )
        }
        CertificateError::UnknownIssuer => "nobody who is trusted here has signed its \
            certificate: name the certificate of its authority (or its own, if it signed itself) \
            in ca_file"
            .to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::Other(other) if other.0.is::<AnchorError>() => other.to_string(),
        CertificateError::Other(other) if other.to_string().contains("EndEntityUsedAsCa") => {
            "a certificate between it and its authority is no authority's (CA:TRUE): sign it by one that is"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority, which cannot be a server's too: give it one \
             that is signed by the authority"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            let way_out = with_a_name("the host in url");
            format!(
                "its certificate is of version 1 of X.509, which knows no names of hosts: {way_out}"
            )
        }
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// Advice on adding a name to a certificate. Many guides leave this out.
fn with_a_name(host: &str) -> String {
    format!(
        "give it one of version 3 with {host} in subjectAltName, for example by `openssl x509 -req \
         -extfile <(printf subjectAltName=DNS:NAME) …`, or IP:ADDRESS where url has an address"
    )
}

/// Explains an alert received from the other side.
fn alerted(alert: AlertDescription) -> String {
    let ours = "the other side does not take our certificate";
    match alert {
        AlertDescription::CertificateRequired => "the other side wants to see a certificate: name \
            one in cert_file and its key in key_file"
            .to_owned(),
        AlertDescription::CertificateExpired => {
            format!("{ours}, because it has expired: renew the one in cert_file")
        }
        AlertDescription::CertificateRevoked => format!("{ours}, because it was revoked"),
        AlertDescription::UnknownCA => {
            format!("{ours}, because it does not know who signed it: check cert_file")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => format!("{ours}: check cert_file"),
        AlertDescription::HandshakeFailure => "the other side broke encryption off: it may want a \
            certificate (cert_file, key_file), or speak no cipher that is spoken here"
            .to_owned(),
        AlertDescription::ProtocolVersion => {
            "the other side speaks another version of TLS (1.2 and 1.3 are spoken here)".to_owned()
        }
        other => format!("the other side broke encryption off: {other:?}"),
    }
}

/// `DnsName("a.example")` as people write it.
fn plain(name: &str) -> &str {
    let inner = name.split('"').nth(1);
    inner.unwrap_or(name)
}

fn date_of(time: UnixTime) -> String {
    date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    #[test]
    fn a_certificate_without_a_name_is_told_how_to_get_one() {
        let nameless = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("broker.example").unwrap(),
            presented: Vec::new(),
        };
        let said = certificate(&nameless);
        let expected = "give it one of version 3 with broker.example in subjectAltName";
        assert!(
            said.contains("no name at all") && said.contains(expected),
            "{said}"
        );
    }

    /// Made by `openssl x509 -req` without extensions, as mosquitto's manual page does it: such a
    /// certificate is of version 1.
    #[test]
    fn a_certificate_of_version_1_is_told_apart() {
        #[derive(Debug)]
        struct Old;
        impl std::fmt::Display for Old {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("UnsupportedCertVersion")
            }
        }
        impl std::error::Error for Old {}
        let error = CertificateError::Other(rustls::OtherError(std::sync::Arc::new(Old)));
        let said = certificate(&error);
        assert!(
            said.contains("of version 1 of X.509") && said.contains("subjectAltName"),
            "{said}"
        );
    }
}
