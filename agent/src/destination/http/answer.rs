//! Meaning of an answer for the batch that was sent. Pure.

use std::time::Duration;

use chrono::DateTime;

use super::rest::{REST_MAX, Vain};

/// Characters of an answer's body that its reason shows.
const REASON_CHARS: usize = 200;

/// Bytes of an answer's body that show whether it is a web page.
const PAGE_BYTES: usize = 256;

/// Outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has the batch.
    Taken,
    /// The receiver may take the batch later, at the earliest after this rest where it named one.
    Busy(String, Option<Duration>),
    /// The receiver takes nothing until somebody has done something.
    Stalled(String),
    /// The receiver does not take the batch as it is, perhaps because it is too large.
    Refused {
        /// Reason that the endpoint gave.
        why: String,
        /// `true` if a shorter one may be taken.
        too_large: bool,
    },
    /// None came.
    None(String, Vain),
}

impl Answer {
    /// `true` if it was given once the whole batch was there, so that it tells how fast the link is.
    pub(super) fn is_of_the_whole_batch(&self) -> bool {
        matches!(self, Self::Taken)
    }
}

/// An answer as it came.
#[derive(Debug, Default)]
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    /// When the receiver sent it, by its own clock.
    pub(super) date: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// `true` if only the endpoint itself can have sent it.
    pub(super) encrypted: bool,
}

impl Reply<'_> {
    /// Only 400, 413, 415 and 422 speak of the rows; any other 4xx speaks of whoever runs the
    /// endpoint, a maintenance page or a captive portal.
    pub(super) fn answer(&self) -> Answer {
        let why = self.reason();
        match self.status {
            200..=299 if self.is_forged_page() => {
                let hint = "a web page answers, and http:// cannot tell whose: a captive portal, a \
                            proxy? Only https:// can";
                Answer::Stalled(format!("{why}; {hint}"))
            }
            200..=299 => Answer::Taken,
            401 => Answer::Stalled(format!("{why}; check username, password or token")),
            403 => Answer::Stalled(format!("{why}; this user or token may not send there")),
            404 => Answer::Stalled(format!("{why}; check the path in url")),
            300..=399 => Answer::Stalled(format!("{why}; it has moved: write its address in url")),
            408 | 429 | 500..=599 => Answer::Busy(why, self.rest()),
            400 | 413 | 415 | 422 => Answer::Refused {
                why,
                too_large: self.status == 413,
            },
            400..=499 => {
                let hint = "nothing is taken there now: is it under maintenance, is url right?";
                Answer::Stalled(format!("{why}; {hint}"))
            }
            _ => Answer::Stalled(format!("{why}; that is no answer to a POST")),
        }
    }

    /// `true` if a whole web page came over a connection on which anybody can answer.
    fn is_forged_page(&self) -> bool {
        let start = self.body.get(..PAGE_BYTES).unwrap_or(self.body);
        let start = String::from_utf8_lossy(start).to_ascii_lowercase();
        let start = start.trim_start_matches('\u{feff}').trim_start();
        !self.encrypted && (start.starts_with("<!doctype html") || start.starts_with("<html"))
    }

    fn reason(&self) -> String {
        let text = String::from_utf8_lossy(self.body);
        let shown = text.trim().chars().take(REASON_CHARS);
        let shown: String = shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if shown.is_empty() {
            format!("HTTP {}", self.status)
        } else {
            format!("HTTP {}: {shown}", self.status)
        }
    }

    /// Retry-After as a number of seconds, or as a date, which means something only beside the
    /// receiver's own: a gateway's clock may be wrong.
    fn rest(&self) -> Option<Duration> {
        let text = self.retry_after?.trim();
        let seconds = text.parse().ok().or_else(|| {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            let now = DateTime::parse_from_rfc2822(self.date?.trim()).ok()?;
            u64::try_from((until - now).num_seconds()).ok()
        })?;
        Some(Duration::from_secs(seconds).min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        let reply = Reply {
            status,
            body,
            ..Reply::default()
        };
        reply.answer()
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answer(status, b"thanks"), Answer::Taken);
        }
        for status in [408, 429, 500, 502, 503, 504, 511, 599] {
            assert!(matches!(answer(status, b""), Answer::Busy(..)), "{status}");
        }
        for status in [400, 413, 415, 422] {
            assert!(
                matches!(answer(status, b""), Answer::Refused { .. }),
                "{status}"
            );
        }
        let verdicts = [400, 408, 413, 415, 422, 429];
        let others = (300..500).filter(|status| !verdicts.contains(status));
        for status in others.chain([100, 101, 103, 199, 600, 999]) {
            assert!(
                matches!(answer(status, b""), Answer::Stalled(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_web_page_takes_no_rows_unless_the_endpoint_itself_sent_it() {
        let page = b"\xef\xbb\xbf\n<!DOCTYPE html><title>Sign in</title>".as_slice();
        for body in [page, b"  <HTML lang=en>"] {
            assert!(matches!(answer(200, body), Answer::Stalled(_)));
            let encrypted = Reply {
                status: 200,
                body,
                encrypted: true,
                ..Reply::default()
            };
            assert_eq!(encrypted.answer(), Answer::Taken);
        }
        for body in [b"{\"html\": \"<html>\"}".as_slice(), b"ok <html>", b""] {
            assert_eq!(answer(200, body), Answer::Taken);
        }
    }

    #[test]
    fn a_refusal_quotes_the_start_of_the_body() {
        let long = [b" bad\nrow ".as_slice(), &[b'x'; 500]].concat();
        let Answer::Refused { why, .. } = answer(400, &long) else {
            panic!("not refused");
        };
        assert!(why.starts_with("HTTP 400: bad row x"), "{why}");
        assert_eq!(why.len(), "HTTP 400: ".len() + 200);
        assert_eq!(
            answer(422, b"\r\n"),
            Answer::Refused {
                why: "HTTP 422".to_owned(),
                too_large: false
            }
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_beside_the_receivers_own() {
        let rest = |retry_after, date| {
            let reply = Reply {
                status: 429,
                retry_after: Some(retry_after),
                date,
                ..Reply::default()
            };
            match reply.answer() {
                Answer::Busy(_, rest) => rest.map(|rest| rest.as_secs()),
                other => panic!("{other:?}"),
            }
        };
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(rest("7", None), Some(7));
        assert_eq!(rest("7000", None), Some(300));
        assert_eq!(rest(date, Some("Wed, 21 Oct 2015 07:27:30 GMT")), Some(30));
        assert_eq!(rest(date, Some("Wed, 21 Oct 2015 07:29:00 GMT")), None);
        assert_eq!(rest(date, None), None);
        assert_eq!(rest("soon", None), None);
    }
}
