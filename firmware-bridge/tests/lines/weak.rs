//! Weak variants of the protocol, made by rewriting what the ends say and hear: each must be caught.

use tidemill_lines::{Boot, FromDevice, ToDevice, seal, unseal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weak {
    CrcWithoutBoot,
    OkWhileAsking,
    BootTwice,
    ForgetAtHeld,
    OkWithoutSafe,
    NoHelloAtRto,
    HelloLeavesWanted,
    ManyInFlight,
}

impl Weak {
    pub(crate) const ALL: [Self; 8] = [
        Self::CrcWithoutBoot,
        Self::OkWhileAsking,
        Self::BootTwice,
        Self::ForgetAtHeld,
        Self::OkWithoutSafe,
        Self::NoHelloAtRto,
        Self::HelloLeavesWanted,
        Self::ManyInFlight,
    ];

    /// Rewrites what the device hears.
    pub(crate) fn to_device(self, bytes: Vec<u8>, mine: Option<Boot>, given: &[Boot]) -> Vec<u8> {
        rewrite(bytes, |line| match self {
            Self::CrcWithoutBoot => resealed(line, mine, given),
            Self::OkWhileAsking if mine.is_none() => {
                let content = unseal(line, None)?;
                match ToDevice::read(content)? {
                    ToDevice::Ok { boot, .. } => {
                        let new = format!("@new boot={}", boot.as_str());
                        Some(sealed(None, new.as_bytes()))
                    }
                    _ => None,
                }
            }
            Self::ForgetAtHeld => {
                let content = unseal(line, mine)?;
                match ToDevice::read(content)? {
                    ToDevice::Held(number) => {
                        Some(sealed(mine, format!("+{}", number.0).as_bytes()))
                    }
                    _ => None,
                }
            }
            Self::OkWithoutSafe => {
                let content = String::from_utf8(unseal(line, None)?.to_vec()).ok()?;
                let (before, behind) = content.split_once(" safe=")?;
                let behind = behind
                    .split_once(' ')
                    .map_or(String::new(), |(_, rest)| format!(" {rest}"));
                Some(sealed(None, format!("{before}{behind}").as_bytes()))
            }
            _ => None,
        })
    }

    /// Rewrites what the bridge hears.
    pub(crate) fn to_bridge(self, bytes: Vec<u8>, mine: Option<Boot>, given: &[Boot]) -> Vec<u8> {
        rewrite(bytes, |line| match self {
            Self::CrcWithoutBoot => resealed(line, mine, given),
            Self::HelloLeavesWanted => {
                let content = unseal(line, None)?;
                match FromDevice::read(content)? {
                    FromDevice::Hello(hello) if hello.boot.is_some() && hello.boot == mine => {
                        let boot = hello.boot?;
                        let (name, boot, lost) = (hello.name.as_str(), boot.as_str(), hello.lost);
                        let hello = format!("@{name} boot={boot} first=1 lost={lost}");
                        Some(sealed(None, hello.as_bytes()))
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }
}

/// A line that fits some boot, made to fit the hearer's.
fn resealed(line: &[u8], mine: Option<Boot>, given: &[Boot]) -> Option<Vec<u8>> {
    let mine = mine.filter(|_| !line.starts_with(b"@"))?;
    let content = given
        .iter()
        .rev()
        .find_map(|boot| unseal(line, Some(*boot)))?;
    Some(sealed(Some(mine), content))
}

fn sealed(boot: Option<Boot>, content: &[u8]) -> Vec<u8> {
    let mut line = content.to_vec();
    line.extend(&seal(boot, content)[..9]);
    line
}

fn rewrite(bytes: Vec<u8>, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<Vec<u8>> = lines
        .map(|line| change(line).unwrap_or_else(|| line.to_vec()))
        .collect();
    lines.join(&b'\n')
}
