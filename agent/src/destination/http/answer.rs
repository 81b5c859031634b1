//! What an answer means for the batch that was sent. Pure.

use std::time::Duration;

use chrono::DateTime;

/// How long a receiver can put us off at most.
pub(super) const REST_MAX: Duration = Duration::from_secs(300);

/// Characters of an answer's body that its reason shows.
const REASON_CHARS: usize = 200;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver has the batch.
    Taken,
    /// It may take it later, at the earliest after this rest where it named one.
    NotNow(String, Option<Duration>),
    /// It takes it only after the owner has done something.
    Stalled(String),
    /// It will never take it as it is.
    Refused(String),
}

/// An answer as it came.
#[derive(Debug, Default)]
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    /// When the receiver sent it, by its own clock.
    pub(super) date: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Reply<'_> {
    pub(super) fn answer(&self) -> Answer {
        let why = self.reason();
        match self.status {
            200..=299 => Answer::Taken,
            401 => Answer::Stalled(format!("{why}; check username, password or token")),
            403 => Answer::Stalled(format!("{why}; this user or token may not send there")),
            404 => Answer::Stalled(format!("{why}; check the path in url")),
            300..=399 => Answer::Stalled(format!("{why}; it has moved: write its address in url")),
            408 | 500..=599 => Answer::NotNow(why, self.rest()),
            429 => Answer::NotNow(why, self.rest()),
            400..=499 => Answer::Refused(why),
            _ => Answer::NotNow(format!("{why}; that is no answer"), None),
        }
    }

    fn reason(&self) -> String {
        let text = String::from_utf8_lossy(self.body);
        let shown = text.trim().chars().take(REASON_CHARS);
        let shown: String = shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        match shown.is_empty() {
            true => format!("HTTP {}", self.status),
            false => format!("HTTP {}: {shown}", self.status),
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
        for status in [408, 429, 500, 502, 503, 504, 599, 600] {
            assert!(
                matches!(answer(status, b""), Answer::NotNow(..)),
                "{status}"
            );
        }
        for status in [301, 302, 307, 308, 401, 403, 404] {
            assert!(
                matches!(answer(status, b""), Answer::Stalled(_)),
                "{status}"
            );
        }
        for status in [400, 402, 405, 409, 410, 413, 415, 422, 499] {
            assert!(
                matches!(answer(status, b""), Answer::Refused(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_refusal_quotes_the_start_of_the_body() {
        let long = [b" bad\nrow ".as_slice(), &[b'x'; 500]].concat();
        let Answer::Refused(why) = answer(400, &long) else {
            panic!("not refused");
        };
        assert!(why.starts_with("HTTP 400: bad row x"), "{why}");
        assert_eq!(why.len(), "HTTP 400: ".len() + 200);
        assert_eq!(answer(410, b"\r\n"), Answer::Refused("HTTP 410".to_owned()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_beside_the_receivers_own() {
        let rest = |retry_after, date| {
            let reply = Reply {
                status: 429,
                retry_after: Some(retry_after),
                date,
                body: b"",
            };
            match reply.answer() {
                Answer::NotNow(_, rest) => rest.map(|rest| rest.as_secs()),
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
