//! A broker and an HTTP endpoint that answer with bytes for a terminal wherever words go.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A title for the window, ends of lines, C1, directions of writing, and characters that nobody sees.
pub(super) const FOUL: &str = "\x1b]0;own\x07\r\nFORGED ERROR all is lost\r\u{9b}2J\x7f\u{85}\u{202e}\u{2066}\
                               \u{2028}FORGED\u{2029}\u{200b}\u{feff}";

/// Messages that the broker publishes: each of these topics once.
pub(super) const EVENTS: usize = 3;

/// Payloads of a device.
pub(super) fn payload() -> String {
    format!("payload says {FOUL}")
}

fn topics() -> [String; EVENTS] {
    [
        format!("in/topic says {FOUL}"),
        format!("in/{FOUL}"),
        "in/\u{202e}\u{2028}topic says".to_owned(),
    ]
}

/// A broker that grants everything, publishes something foul to each who subscribes, and refuses what is
/// published to it, with words.
pub(super) struct FoulBroker {
    port: u16,
    hangs_up: Arc<AtomicBool>,
}

impl FoulBroker {
    pub(super) fn start() -> Self {
        let hangs_up = Arc::<AtomicBool>::default();
        let theirs = Arc::clone(&hangs_up);
        let port = listen(move |stream| {
            let _ = serve(stream, &theirs);
        });
        Self { port, hangs_up }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections and takes no more, with words.
    pub(super) fn hang_up(&self) {
        self.hangs_up.store(true, Ordering::Relaxed);
    }
}

/// Serves each connection to a free port on a thread of its own; they end with the test.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}

/// Properties of an answer: its reason in words.
fn reason(words: &str) -> Vec<u8> {
    let mut property = vec![0x1f];
    text(&mut property, &format!("{words} says {FOUL}"));
    let mut all = vec![u8::try_from(property.len()).unwrap()];
    all.append(&mut property);
    all
}

fn write(stream: &mut TcpStream, kind: u8, body: &[u8]) -> Option<()> {
    let mut packet = vec![kind];
    let mut length = body.len();
    while length > 127 {
        packet.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(body);
    stream.write_all(&packet).ok()
}

fn byte(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut one = [0];
    stream.read_exact(&mut one)?;
    Ok(one[0])
}

/// The rest of a packet after its first byte.
fn body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let next = byte(stream).ok()?;
        length |= usize::from(next & 127) << shift;
        shift += 7;
        if next < 128 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn serve(mut stream: TcpStream, hangs_up: &AtomicBool) -> Option<()> {
    let look = Some(Duration::from_millis(100));
    loop {
        stream.set_read_timeout(look).ok()?;
        let first = byte(&mut stream);
        if first.is_err() && hangs_up.load(Ordering::Relaxed) {
            return write(
                &mut stream,
                0xe0,
                &[&[0x8b], &*reason("disconnect")].concat(),
            );
        }
        let kind = match first {
            Ok(kind) => kind,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        };
        stream.set_read_timeout(None).ok()?;
        let packet = body(&mut stream)?;
        match kind & 0xf0 {
            0x10 if hangs_up.load(Ordering::Relaxed) => {
                return write(
                    &mut stream,
                    0x20,
                    &[&[0, 0x87], &*reason("connack")].concat(),
                );
            }
            0x10 => write(&mut stream, 0x20, &[0, 0, 0])?,
            0x80 => {
                write(
                    &mut stream,
                    0x90,
                    &[&packet[..2], &reason("suback"), &[1]].concat(),
                )?;
                publish(&mut stream)?;
            }
            0x30 => {
                let topic = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                let id = &packet[2 + topic..4 + topic];
                write(
                    &mut stream,
                    0x40,
                    &[id, &[0x90], &reason("puback")].concat(),
                )?;
            }
            0xc0 => write(&mut stream, 0xd0, &[])?,
            _ => {}
        }
    }
}

fn publish(stream: &mut TcpStream) -> Option<()> {
    for (topic, id) in topics().iter().zip(1_u16..) {
        let mut packet = Vec::new();
        text(&mut packet, topic);
        packet.extend(id.to_be_bytes());
        let mut property = vec![0x26];
        text(&mut property, &format!("name says {FOUL}"));
        text(&mut property, FOUL);
        let length = property.len();
        packet.extend([
            u8::try_from(length % 128).unwrap() | 128,
            u8::try_from(length / 128).unwrap(),
        ]);
        packet.extend(property);
        packet.extend(payload().as_bytes());
        write(stream, 0x32, &packet)?;
    }
    Some(())
}

/// An endpoint that refuses what is posted, with a reason and a page. HTTP knows no control characters in
/// a reason; one answer has them all the same.
pub(super) struct FoulEndpoint {
    port: u16,
}

impl FoulEndpoint {
    pub(super) fn start() -> Self {
        let is_first = AtomicBool::new(true);
        let port = listen(move |stream| {
            let phrase = if is_first.swap(false, Ordering::Relaxed) {
                "phrase says \x1b[2J\x07"
            } else {
                "phrase says \u{9b}2J\u{202e}\u{2028}"
            };
            let _ = answer(stream, phrase);
        });
        Self { port }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

fn answer(mut stream: TcpStream, phrase: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(byte(&mut stream)?);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    std::io::copy(&mut (&stream).take(length), &mut std::io::sink())?;
    let body = format!("body says {FOUL}");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 400 {phrase}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
