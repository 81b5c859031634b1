//! One request and its answer over a connection that is kept for the next. HTTP/1.1, by hyper.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use super::HttpSettings;
use super::answer::{Answer, Reply};
use super::login::Login;
use super::meter::{Meter, Metered, Patience, patiently};
use super::rest::Vain;
use tidemill_transport::resolve;
use tidemill_transport::tls::{self, Watch};

/// Most bytes read of an answer; a connection with a longer one is given up.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Most pieces in which an answer is read: those of a byte each cost a hundred times as much as the
/// byte.
const ANSWER_PIECES_MAX: usize = 256;

/// Most bytes that the library keeps of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

const AGENT: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// Bytes that the system takes over at once, or twice as many. Earlier bytes have left, so a link
/// that stands still is soon noticed.
const SEND_BUFFER_BYTES: u32 = 64 << 10;

/// Sends requests, one after the other.
pub(super) struct Exchange {
    connection: Option<Connection>,
    /// Looks at the certificates of the connection.
    watch: Watch,
    encrypted: bool,
}

/// A connection, and the bytes that pass on it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    meter: Meter,
}

/// A request to send.
pub(super) struct Parcel<'a> {
    /// The name of the batch.
    pub(super) key: Option<&'a str>,
    pub(super) body: Bytes,
    /// Bytes in a second that the link is trusted to carry.
    pub(super) rate: u64,
}

/// Why there was no answer.
enum Failure {
    /// The connection broke: a kept one may have been closed at the other end long ago.
    Broken(String),
    /// No byte moved for too long.
    Silent(String),
    /// None came to be.
    Unreachable(String),
    /// The configuration has to change.
    Wrong(String),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Wrong(why) => Self::Stalled(why),
            Failure::Broken(why) | Failure::Silent(why) => Self::None(why, Vain::NoAnswer),
            Failure::Unreachable(why) => Self::None(why, Vain::NoConnection),
        }
    }
}

impl Exchange {
    pub(super) fn new(encrypted: bool) -> Self {
        Self {
            connection: None,
            watch: Watch::new(None),
            encrypted,
        }
    }

    /// Posts a batch.
    pub(super) async fn post(&mut self, settings: &HttpSettings, parcel: &Parcel<'_>) -> Answer {
        let posted = self.post_once_or_twice(settings, parcel).await;
        posted.unwrap_or_else(Answer::from)
    }

    async fn post_once_or_twice(
        &mut self,
        settings: &HttpSettings,
        parcel: &Parcel<'_>,
    ) -> Result<Answer, Failure> {
        let changed = self.watch.has_changed(Instant::now());
        let kept = self.connection.take();
        if let Some(kept) = kept.filter(|kept| !kept.sender.is_closed() && !changed) {
            match self.send(kept, settings, parcel).await {
                Err(Failure::Broken(_)) => {}
                other => return other,
            }
        }
        self.watch = Watch::new(settings.tls.clone());
        let fresh = connect(settings).await?;
        let sent = self.send(fresh, settings, parcel).await;
        match sent {
            Err(Failure::Broken(why)) if settings.tls.is_some() => {
                let hint = "a server may do that which does not take our certificate, or wants to \
                            see one (cert_file, key_file)";
                Err(Failure::Broken(format!("{why}; {hint}")))
            }
            other => other,
        }
    }

    /// Posts over a connection that is there already: whatever the outcome, no other one is made.
    pub(super) async fn post_over(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        settings: &HttpSettings,
        parcel: &Parcel<'_>,
    ) -> Answer {
        let sent = match speak(stream).await {
            Ok(connection) => self.send(connection, settings, parcel).await,
            Err(failure) => Err(failure),
        };
        sent.unwrap_or_else(Answer::from)
    }

    /// Sends a request and reads its answer. What the answer says after its head is of interest only
    /// as its reason: it is read while that does not take long.
    async fn send(
        &mut self,
        mut connection: Connection,
        settings: &HttpSettings,
        parcel: &Parcel<'_>,
    ) -> Result<Answer, Failure> {
        let login = Login::read(settings).map_err(Failure::Wrong)?;
        let request = request(settings, &login, parcel)?;
        let body = parcel.body.len() as u64;
        let patience = Patience {
            progress: settings.timeout,
            answer: settings.answer_timeout,
            rate: parcel.rate,
            body,
        };
        connection.meter.restart();
        let exchange = async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        };
        let response = patiently(&connection.meter, patience, exchange).await;
        let response = response.map_err(Failure::Silent)?.map_err(broken)?;
        connection.meter.has_head();
        let in_full = connection.meter.passed().has_sent(body);
        let (head, text) = response.into_parts();
        let (text, ended) = read(text, settings.timeout).await;
        if ended && in_full {
            self.connection = Some(connection);
        }
        if head.status.is_success() && !in_full {
            // Whoever says so cannot have the rows: a proxy, a captive portal.
            let why = format!(
                "HTTP {} before the whole batch was sent",
                head.status.as_u16()
            );
            return Ok(Answer::Busy(why, None));
        }
        let text = login.hidden_in(text);
        let reply = Reply {
            status: head.status.as_u16(),
            retry_after: header(&head.headers, header::RETRY_AFTER),
            date: header(&head.headers, header::DATE),
            body: &text,
            encrypted: self.encrypted,
        };
        Ok(reply.answer())
    }
}

async fn connect(settings: &HttpSettings) -> Result<Connection, Failure> {
    let stream = in_time(settings, dial(settings)).await?;
    let Some(files) = &settings.tls else {
        return speak(stream).await;
    };
    let credentials = files
        .read()
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    let handshake = async {
        let stream = tls::connect(credentials, &settings.host, stream).await;
        stream.map_err(|error| match tls::explain_handshake(&error) {
            Some(why) => Failure::Unreachable(why),
            None => unreachable(error),
        })
    };
    speak(in_time(settings, handshake).await?).await
}

async fn in_time<T>(
    settings: &HttpSettings,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Ok(done) = tokio::time::timeout(settings.timeout, step).await else {
        let seconds = settings.timeout.as_secs_f32();
        return Err(Failure::Unreachable(format!(
            "no connection came to be within {seconds} s: is it running, are host and port right?"
        )));
    };
    done
}

async fn dial(settings: &HttpSettings) -> Result<TcpStream, Failure> {
    let addresses = resolve::addresses(&settings.host, settings.port).await;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses = addresses.map_err(|error| {
        let host = &settings.host;
        Failure::Unreachable(format!(
            "the name {host} cannot be looked up (DNS: {error}): is it spelled right, is there a name server?"
        ))
    })?;
    // One that does not answer must not take the time of all.
    let each = settings.timeout / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    for address in addresses {
        match tokio::time::timeout(each, dial_one(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(unreachable(failed))
}

async fn dial_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unreachable(error: io::Error) -> Failure {
    Failure::Unreachable(format!(
        "nothing answers there ({error}): is it running, are host and port right?"
    ))
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<Connection, Failure> {
    let meter = Meter::new();
    let stream = Metered {
        stream,
        meter: meter.clone(),
    };
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(broken)?;
    // It ends with its sender; what went wrong, the request in hand is told.
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Connection { sender, meter })
}

fn request(
    settings: &HttpSettings,
    login: &Login,
    parcel: &Parcel<'_>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::post(&settings.path)
        .header(header::HOST, settings.authority())
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = parcel.key {
        request = request.header("idempotency-key", key);
    }
    if let Some(login) = &login.header {
        request = request.header(header::AUTHORIZATION, login);
    }
    request
        .body(Full::new(parcel.body.clone()))
        .map_err(|error| Failure::Wrong(format!("no request can be made of it: {error}")))
}

/// Reads an answer as far as it comes in time; tells whether it came to its end, so that its
/// connection can be used again.
async fn read(mut body: Incoming, within: Duration) -> (Vec<u8>, bool) {
    let (mut bytes, mut pieces) = (Vec::new(), 0);
    let all = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return false;
            };
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
            pieces += 1;
            if bytes.len() > ANSWER_BYTES_MAX || pieces > ANSWER_PIECES_MAX {
                return false;
            }
        }
        true
    };
    let ended = tokio::time::timeout(within, all).await;
    (bytes, ended.unwrap_or(false))
}

fn header(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
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
