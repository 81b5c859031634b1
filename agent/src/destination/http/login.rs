//! Credentials of a request, and their removal from the answers of an endpoint: some repeat a
//! request in their errors, and those stand in logs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use super::HttpSettings;
use crate::config::HttpLogin;
use tidemill_base::secret::Secret;

/// Shorter texts stand in any answer by chance.
const HIDDEN_BYTES_MIN: usize = 4;

/// The login of one request.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// The value of `Authorization`.
    pub(super) header: Option<HeaderValue>,
    /// All that nobody should see of it, and of the address.
    secrets: Vec<Secret>,
}

impl Login {
    /// Reads the file with the password or the token.
    ///
    /// # Errors
    /// When it cannot be read or used, in words.
    pub(super) fn read(settings: &HttpSettings) -> Result<Self, String> {
        let mut read = Self::default();
        if let Some((_, query)) = settings.path.split_once('?') {
            read.secrets.push(query.into());
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            read.secrets.extend(values.map(|(_, value)| value.into()));
        }
        let Some(login) = &settings.login else {
            return Ok(read);
        };
        let (HttpLogin::Basic { password: file, .. } | HttpLogin::Bearer(file)) = login;
        let shown = file.path().display();
        let secret = file
            .read()
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let text = Zeroizing::new(match login {
            HttpLogin::Basic { username, .. } => {
                let pair = Zeroizing::new(format!("{username}:{}", secret.expose()));
                let encoded = Secret::from(BASE64_STANDARD.encode(pair.as_str()));
                let text = format!("Basic {}", encoded.expose());
                read.secrets.push(encoded);
                text
            }
            HttpLogin::Bearer(_) => format!("Bearer {}", secret.expose()),
        });
        read.secrets.push(secret);
        let mut header = HeaderValue::try_from(text.as_str())
            .map_err(|_| format!("{shown} has a character that no header may have"))?;
        header.set_sensitive(true);
        read.header = Some(header);
        Ok(read)
    }

    /// An answer's text without anything of the login.
    pub(super) fn hidden_in(&self, text: Vec<u8>) -> Vec<u8> {
        let is_long = |secret: &&str| secret.len() >= HIDDEN_BYTES_MIN;
        let secrets = self.secrets.iter().map(Secret::expose).filter(is_long);
        secrets.fold(text, |text, secret| {
            let all = String::from_utf8_lossy(&text);
            if all.contains(secret) {
                all.replace(secret, "***").into_bytes()
            } else {
                text
            }
        })
    }
}
