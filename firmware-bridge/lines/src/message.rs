//! Messages of both directions, read from one line without its ends. The checksum covers the boot as well,
//! so that a line of another boot reads as a damaged one.

use crate::crc::Crc;
use crate::text::{Text, decimal, hex, long_decimal};

/// The number of a line within its boot; 0 stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LineNumber(pub u32);

/// The number by which a command and its answer are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u32);

/// The identity of one run of a device between two resets: 16 hex digits that the bridge gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot([u8; 16]);

impl Boot {
    /// Writes `bits` as 16 digits.
    pub fn from_bits(bits: u64) -> Self {
        let mut digits = Text::<16>::new();
        digits.hex((bits >> 32) as u32);
        digits.hex(bits as u32);
        let mut boot = [b'0'; 16];
        for (to, from) in boot.iter_mut().zip(digits.as_bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Self(boot)
    }

    /// Reads 16 hex digits; they are kept as they are written, for the checksum covers them so.
    pub fn read(digits: &[u8]) -> Option<Self> {
        let boot: [u8; 16] = digits.try_into().ok()?;
        boot.iter().all(u8::is_ascii_hexdigit).then_some(Self(boot))
    }

    /// The digits.
    pub fn digits(&self) -> &[u8; 16] {
        &self.0
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The name of a device: 1 to 32 of `A-Za-z0-9_.-`, and neither `new` nor `ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Returns the name if it is one.
    pub fn read(name: &'a [u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        let is_name = (1..=32).contains(&name.len()) && name.iter().all(allowed);
        (is_name && name != b"new" && name != b"ok").then_some(Self(name))
    }

    /// The name's characters.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The name as text.
    pub fn as_str(&self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }
}

/// A device's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Name of the device.
    pub name: Name<'a>,
    /// The boot, unless the device asks for one.
    pub boot: Option<Boot>,
    /// The oldest line held, or the next number if there is none.
    pub first: LineNumber,
    /// Lines given up, as far back as the device remembers.
    pub lost: u32,
    /// The highest line sent, where some up to it are not acknowledged.
    pub sent: Option<LineNumber>,
    /// All `key=value` pairs, for those that not every hello has.
    pub pairs: &'a [u8],
}

impl<'a> Hello<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (name, pairs) = word(body);
        let boot = match value(pairs, b"boot")? {
            b"-" => None,
            digits => Some(Boot::read(digits)?),
        };
        let first = LineNumber(decimal(value(pairs, b"first")?)?);
        let lost = value(pairs, b"lost").map_or(Some(0), decimal)?;
        (first.0 > 0).then_some(Self {
            name: Name::read(name)?,
            boot,
            first,
            lost,
            sent: value(pairs, b"sent").and_then(decimal).map(LineNumber),
            pairs,
        })
    }

    /// Returns the value of a further key, such as `fw`, `hw` or `max`.
    pub fn value(&self, key: &str) -> Option<&'a [u8]> {
        value(self.pairs, key.as_bytes())
    }
}

/// A line that a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromDevice<'a> {
    /// `@NAME …`
    Hello(Hello<'a>),
    /// `#n text`
    Line {
        /// Its number, at least 1.
        number: LineNumber,
        /// The application's text.
        text: &'a [u8],
    },
    /// `<N ok text` or `<N err text`
    Answer {
        /// The command that it answers.
        command: CommandId,
        /// `true` if the command was carried out.
        ok: bool,
        /// The application's words.
        text: &'a [u8],
    },
}

impl<'a> FromDevice<'a> {
    /// Reads what [`unseal`] returned; `None` if it is no line of a device.
    pub fn read(content: &'a [u8]) -> Option<Self> {
        let (mark, body) = content.split_first()?;
        match mark {
            b'@' => Hello::read(body).map(Self::Hello),
            b'#' => {
                let (number, text) = numbered(body)?;
                let number = LineNumber(number);
                (number.0 > 0).then_some(Self::Line { number, text })
            }
            b'<' => {
                let (number, rest) = numbered(body)?;
                let (verdict, text) = word(rest);
                let ok = verdict == b"ok";
                (ok || verdict == b"err").then_some(Self::Answer {
                    command: CommandId(number),
                    ok,
                    text,
                })
            }
            _ => None,
        }
    }
}

/// A line that the bridge sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToDevice<'a> {
    /// `@new boot=…`
    New(Boot),
    /// `@ok boot=… next=n safe=n time=ms who=1`
    Ok {
        /// The boot that the answered hello had.
        boot: Boot,
        /// The line wanted next.
        next: LineNumber,
        /// All up to here is at the broker.
        safe: Option<LineNumber>,
        /// Milliseconds since 1970.
        time: Option<u64>,
        /// `true` if the bridge asks for a hello with all that the device says of itself.
        who: bool,
    },
    /// `=n`
    Held(LineNumber),
    /// `-n`
    Missing(LineNumber),
    /// `+n`
    Safe(LineNumber),
    /// `>N text`
    Command {
        /// Its number.
        command: CommandId,
        /// The command's words.
        text: &'a [u8],
    },
}

impl<'a> ToDevice<'a> {
    /// Reads what [`unseal`] returned; `None` if it is no line of a bridge.
    pub fn read(content: &'a [u8]) -> Option<Self> {
        let (mark, body) = content.split_first()?;
        let number = || decimal(body).map(LineNumber);
        match mark {
            b'=' => number().map(Self::Held),
            b'-' => number().map(Self::Missing),
            b'+' => number().map(Self::Safe),
            b'>' => {
                let (number, text) = numbered(body)?;
                let command = CommandId(number);
                Some(Self::Command { command, text })
            }
            b'@' => {
                let (name, pairs) = word(body);
                let boot = Boot::read(value(pairs, b"boot")?)?;
                match name {
                    b"new" => Some(Self::New(boot)),
                    b"ok" => Some(Self::Ok {
                        boot,
                        next: LineNumber(decimal(value(pairs, b"next")?)?),
                        safe: value(pairs, b"safe").and_then(decimal).map(LineNumber),
                        time: value(pairs, b"time").and_then(long_decimal),
                        who: value(pairs, b"who") == Some(b"1"),
                    }),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Splits at the first space, which goes.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ');
    let end = end.unwrap_or(text.len());
    let word = text.get(..end).unwrap_or_default();
    (word, text.get(end + 1..).unwrap_or_default())
}

/// Splits a number and the text behind the space that has to follow it.
fn numbered(body: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, text) = word(body);
    body.contains(&b' ').then_some((decimal(digits)?, text))
}

/// Returns the value of the first pair with this key.
fn value<'a>(pairs: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut words = pairs.split(|byte| *byte == b' ');
    words.find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
}

fn checksum(boot: Option<Boot>, content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    if content.first() != Some(&b'@')
        && let Some(boot) = boot
    {
        crc.update(&boot.0);
    }
    crc.update(content);
    crc.value()
}

/// Returns `*`, the checksum and LF: what stands behind `content` on the wire.
pub fn seal(boot: Option<Boot>, content: &[u8]) -> [u8; 10] {
    let mut text = Text::<10>::new();
    text.byte(b'*');
    text.hex(checksum(boot, content));
    text.byte(b'\n');
    let mut seal = [0; 10];
    for (to, from) in seal.iter_mut().zip(text.as_bytes()) {
        *to = *from;
    }
    seal
}

/// Returns mark and body of a line without its ends, if the checksum fits. Without a boot only lines with `@` can.
pub fn unseal(line: &[u8], boot: Option<Boot>) -> Option<&[u8]> {
    let (content, seal) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let sum = hex(seal.strip_prefix(b"*")?)?;
    let is_known = boot.is_some() || content.first() == Some(&b'@');
    (is_known && checksum(boot, content) == sum).then_some(content)
}
