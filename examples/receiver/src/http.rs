//! Rows that gateways POST: a batch is one transaction, and the answer comes after it.

use std::error::Error;
use std::io::Read;
use std::sync::Mutex;

use tiny_http::{Method, Request, Response};

use crate::row;
use crate::store::Store;

/// Largest body taken: a gateway sends at most 1 MiB of payloads at once, in JSON.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// A bound address.
pub struct Server(tiny_http::Server);

impl Server {
    /// Listens on an address, such as `127.0.0.1:8080`.
    pub fn bind(address: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let server = tiny_http::Server::http(address)?;
        eprintln!("receiver: listens on {}", server.server_addr());
        Ok(Self(server))
    }

    /// Answers until the database fails, the last request with 503, so that the gateway tries again.
    /// Returns what went wrong.
    pub fn run(self, store: &Mutex<Store>) -> String {
        for mut request in self.0.incoming_requests() {
            let (status, failure) = match answer(&mut request, store) {
                Ok(status) => (status, None),
                Err(error) => (503, Some(error)),
            };
            // A gateway that does not hear the answer sends the batch again.
            let _ = request.respond(Response::empty(status));
            if let Some(error) = failure {
                return format!("the database failed: {error}");
            }
        }
        "no more requests come".to_owned()
    }
}

fn answer(request: &mut Request, store: &Mutex<Store>) -> rusqlite::Result<u16> {
    if *request.method() != Method::Post {
        return Ok(405);
    }
    let mut body = Vec::new();
    let mut reader = request.as_reader().take(BODY_BYTES_MAX + 1);
    if reader.read_to_end(&mut body).is_err() {
        return Ok(408);
    }
    if body.len() as u64 > BODY_BYTES_MAX {
        return Ok(413);
    }
    match row::from_batch(&body) {
        Ok(rows) => {
            let applied = crate::lock(store).apply(&rows)?;
            if applied.missing > 0 {
                eprintln!("receiver: {} rows are missing", applied.missing);
            }
            Ok(200)
        }
        Err(error) => {
            eprintln!("receiver: refused a body: {error}");
            Ok(400)
        }
    }
}
