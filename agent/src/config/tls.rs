//! Certificates that a connection trusts and shows: their files are already read here, so that a
//! fault in them is reported before anything starts.

use std::path::PathBuf;

use toml::Spanned;

use super::address::Address;
use super::check::Table;
use tidemill_transport::tls::{ClientFiles, Culprit, TlsFiles};

/// The keys of any table with a connection in it.
pub(super) struct TlsKeys<'a> {
    pub(super) url: &'a Spanned<String>,
    pub(super) ca_file: Option<&'a Spanned<PathBuf>>,
    pub(super) cert_file: Option<&'a Spanned<PathBuf>>,
    pub(super) key_file: Option<&'a Spanned<PathBuf>>,
}

impl TlsKeys<'_> {
    /// Checks the keys for a connection to `address`.
    pub(super) fn checked(&self, table: &Table<'_>, address: &Address) -> Option<TlsFiles> {
        let given = [
            ("ca_file", self.ca_file),
            ("cert_file", self.cert_file),
            ("key_file", self.key_file),
        ];
        if !address.scheme.is_secure() {
            for (key, file) in given {
                let why = ": the connection is not encrypted, so a certificate has no use; \
                           write mqtts:// or https:// in url";
                if let Some(file) = file {
                    table.error(key, file, why);
                }
            }
            return None;
        }
        let client = match (self.cert_file, self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ClientFiles {
                cert_file: table.path(cert),
                key_file: table.path(key),
            }),
            (Some(cert), None) => {
                table.error("cert_file", cert, " has no use without key_file");
                None
            }
            (None, Some(key)) => {
                table.error("key_file", key, " has no use without cert_file");
                None
            }
        };
        if let Some(key) = self.key_file {
            table.warn_if_exposed("key_file", key);
        }
        let files = TlsFiles {
            ca_file: self.ca_file.map(|file| table.path(file)),
            client,
            ..TlsFiles::default()
        };
        if let Err(error) = files.read() {
            let named = match error.culprit {
                Culprit::CaFile => ("ca_file", self.ca_file),
                Culprit::CertFile => ("cert_file", self.cert_file),
                Culprit::KeyFile => ("key_file", self.key_file),
                Culprit::System => ("url", None),
            };
            let why = format!(": {error}");
            match named {
                (key, Some(file)) => table.error(key, file, why),
                (key, None) => table.error(key, self.url, why),
            }
        }
        Some(files)
    }
}
