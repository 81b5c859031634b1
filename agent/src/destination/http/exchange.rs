//! One request and its answer over a connection that is kept for the next. HTTP/1.1, by hyper.

use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::HttpSettings;
use super::answer::{Answer, Reply};
use super::rest::Vain;
use crate::config::HttpLogin;
use crate::resolve;
use crate::tls::{self, Watch};

/// So much of an answer is read; a connection with a longer one is given up.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What the library keeps of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

const AGENT: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// Sends requests, one after the other.
pub(super) struct Exchange {
    connection: Option<SendRequest<Full<Bytes>>>,
    /// Looks at the certificates of the connection.
    watch: Watch,
    encrypted: bool,
}

/// Why there was no answer.
enum Failure {
    /// The connection broke: a kept one may have been closed at the other end long ago.
    Broken(String),
    /// None came to be.
    Unreachable(String),
    /// The configuration has to change.
    Wrong(String),
}

impl Exchange {
    pub(super) fn new(encrypted: bool) -> Self {
        Self {
            connection: None,
            watch: Watch::new(None),
            encrypted,
        }
    }

    /// Posts a batch; `key` is its name.
    pub(super) async fn post(
        &mut self,
        settings: &HttpSettings,
        key: Option<&str>,
        body: Bytes,
    ) -> Answer {
        let posted = self.post_once_or_twice(settings, key, body);
        match tokio::time::timeout(settings.timeout, posted).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failure::Wrong(why))) => Answer::Stalled(why),
            Ok(Err(Failure::Broken(why))) => Answer::None(why, Vain::NoAnswer),
            Ok(Err(Failure::Unreachable(why))) => Answer::None(why, Vain::NoConnection),
            Err(_) => {
                // Its answer would be taken for the next request's.
                self.connection = None;
                Answer::None(silence(settings.timeout), Vain::NoAnswer)
            }
        }
    }

    async fn post_once_or_twice(
        &mut self,
        settings: &HttpSettings,
        key: Option<&str>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let changed = self.watch.has_changed(Instant::now());
        let kept = self.connection.take();
        if let Some(kept) = kept.filter(|kept| !kept.is_closed() && !changed) {
            let request = request(settings, key, body.clone())?;
            match self.send(kept, request).await {
                Err(Failure::Broken(_)) => {}
                other => return other,
            }
        }
        self.watch = Watch::new(settings.tls.clone());
        let fresh = connect(settings).await?;
        let sent = self.send(fresh, request(settings, key, body)?).await;
        match sent {
            Err(Failure::Broken(why)) if settings.tls.is_some() => {
                let hint = "a server may do that which does not take our certificate, or wants to \
                            see one (cert_file, key_file)";
                Err(Failure::Broken(format!("{why}; {hint}")))
            }
            other => other,
        }
    }

    async fn send(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let (answer, whole) = read(response, self.encrypted).await.map_err(broken)?;
        if whole {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

async fn connect(settings: &HttpSettings) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let addresses = resolve::addresses(&settings.host, settings.port).await;
    let addresses = addresses.map_err(unreachable)?;
    let stream = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let Some(files) = &settings.tls else {
        return speak(stream).await;
    };
    let credentials = files
        .read()
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    let stream = tls::connect(credentials, &settings.host, stream).await;
    let stream = stream.map_err(|error| match tls::explain_handshake(&error) {
        Some(why) => Failure::Unreachable(why),
        None => unreachable(error),
    })?;
    speak(stream).await
}

fn unreachable(error: io::Error) -> Failure {
    Failure::Unreachable(format!(
        "nothing answers there ({error}): is it running, are host and port right?"
    ))
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(broken)?;
    // It ends with its sender; what went wrong, the request in hand is told.
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(
    settings: &HttpSettings,
    key: Option<&str>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::post(&settings.path)
        .header(header::HOST, settings.authority())
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(login) = &settings.login {
        request = request.header(header::AUTHORIZATION, authorization(login)?);
    }
    request
        .body(Full::new(body))
        .map_err(|error| Failure::Wrong(format!("no request can be made of it: {error}")))
}

fn authorization(login: &HttpLogin) -> Result<HeaderValue, Failure> {
    let (HttpLogin::Basic { password: file, .. } | HttpLogin::Bearer(file)) = login;
    let shown = file.path().display();
    let secret = file
        .read()
        .map_err(|error| Failure::Wrong(format!("{shown} cannot be read: {error}")))?;
    let text = match login {
        HttpLogin::Basic { username, .. } => {
            let pair = format!("{username}:{}", secret.expose());
            format!("Basic {}", STANDARD.encode(pair))
        }
        HttpLogin::Bearer(_) => format!("Bearer {}", secret.expose()),
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Failure::Wrong(format!("{shown} has a character that no header may have")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer; says whether its connection can be used again.
async fn read(
    response: Response<Incoming>,
    encrypted: bool,
) -> Result<(Answer, bool), hyper::Error> {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            whole = false;
            break;
        }
    }
    let reply = Reply {
        status: head.status.as_u16(),
        retry_after: text(&head.headers, header::RETRY_AFTER),
        date: text(&head.headers, header::DATE),
        body: &bytes,
        encrypted,
    };
    Ok((reply.answer(), whole))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn broken(error: hyper::Error) -> Failure {
    use std::error::Error as _;
    let source = error.source().and_then(|cause| cause.downcast_ref());
    if let Some(why) = source.and_then(tls::explain) {
        return Failure::Broken(why);
    }
    let cause = error.source().map(|cause| format!(": {cause}"));
    Failure::Broken(format!(
        "the connection broke ({error}{}): is that port an HTTP server's?",
        cause.unwrap_or_default()
    ))
}

fn silence(timeout: Duration) -> String {
    format!("no answer came within {} s", timeout.as_secs_f32())
}
