//! Forms of single values of `[system]`.

use std::net::IpAddr;

/// Kinds of keys that sshd takes.
const SSH_KINDS: [&str; 5] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// `true` if a text may be the name of a machine.
pub(super) fn is_host_label(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(good)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// `true` if a text may be a name or an address of a server.
pub(super) fn is_host(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    (1..=253).contains(&text.len()) && text.chars().all(good)
}

/// `true` if a text is an address with the length of its prefix.
pub(super) fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// `true` if a text is one public key of SSH, without options.
pub(super) fn is_ssh_key(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let is_kind = words.next().is_some_and(|kind| SSH_KINDS.contains(&kind));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let is_body = words
        .next()
        .is_some_and(|body| body.len() >= 40 && body.chars().all(good));
    is_kind && is_body && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keys_and_names_are_told_from_others() {
        for text in ["192.168.1.50/24", "2001:db8::5/64", "10.0.0.1/32"] {
            assert!(is_network(text), "{text}");
        }
        for text in ["192.168.1.50", "192.168.1/24", "10.0.0.1/33", "x/8"] {
            assert!(!is_network(text), "{text}");
        }
        let body = "A".repeat(68);
        assert!(is_ssh_key(&format!("ssh-ed25519 {body} ops")));
        for text in [
            format!("ssh-ed25519 {body}\nssh-rsa x"),
            "ssh-ed25519 AAAA".to_owned(),
            format!("command=\"x\" ssh-ed25519 {body}"),
        ] {
            assert!(!is_ssh_key(&text), "{text}");
        }
        for text in ["-a", "a-", "a b", "", "a.b"] {
            assert!(!is_host_label(text), "{text}");
        }
    }
}
