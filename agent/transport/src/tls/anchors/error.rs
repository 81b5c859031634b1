//! Reasons why a certificate that is named as trusted makes nobody trusted.

use chrono::DateTime;

/// Why a certificate that is named as trusted does not make a server trusted that it signed.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum AnchorError {
    #[error(
        "the certificate of its authority {place} expired on {}, and it is {} here: put the authority's new \
         one there, or set this gateway's clock",
        date(*not_after),
        date(*now)
    )]
    Expired {
        place: String,
        not_after: i64,
        now: i64,
    },
    #[error(
        "the certificate of its authority {place} is valid from {} on, and it is {} here: set this gateway's clock",
        date(*not_before),
        date(*now)
    )]
    NotYet {
        place: String,
        not_before: i64,
        now: i64,
    },
    #[error(
        "the certificate {place} that signed its certificate is no authority's for servers (CA:TRUE, keyCertSign): name \
         that of an authority there, or the server's own, if it signed itself"
    )]
    NoAuthority { place: String },
    #[error(
        "the certificate of its authority {place} allows {} between itself and a server (pathLen), and there are \
         more: name the authority there that the server's own stands below",
        match most {
            0 => "nobody".to_owned(),
            most => format!("{most}"),
        }
    )]
    TooFar { place: String, most: u32 },
}

/// A time in seconds since 1970.
pub(in crate::tls) fn date(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || "a day far away".to_owned(),
        |date| date.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
