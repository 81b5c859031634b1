//! One bridge of an id on a machine: a second one would take the first one's session at the broker, and its ports.

use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

/// Another bridge of the same id runs.
#[derive(Debug, thiserror::Error)]
#[error(
    "a bridge with the id {id:?} runs already: {holder}; give this one another id, or end that one"
)]
pub struct OtherBridge {
    id: String,
    holder: crate::devices::Holder,
}

/// Claims an id for as long as the socket is kept: an abstract name, which leaves no file behind.
pub(super) fn claim(id: &str) -> Result<UnixListener, super::RunError> {
    let address = SocketAddr::from_abstract_name(format!("tidemill-bridge/{id}"));
    let address = address.map_err(super::RunError::of("the lock of the bridge's id"))?;
    match UnixListener::bind_addr(&address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(OtherBridge {
            id: id.to_owned(),
            holder: holder(&address),
        }
        .into()),
        Err(error) => Err(super::RunError::of("the lock of the bridge's id")(error)),
    }
}

/// The process that listens there.
fn holder(address: &SocketAddr) -> crate::devices::Holder {
    let peer = UnixStream::connect_addr(address).and_then(|stream| Ok(socket_peercred(&stream)?));
    let pid = peer.map_or(0, |peer| peer.pid.as_raw_nonzero().get().cast_unsigned());
    crate::devices::Holder {
        pid,
        name: crate::devices::process_name(Path::new("/proc"), pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_claimed_once_and_free_again() {
        let id = format!("test-{}", std::process::id());
        let first = claim(&id).unwrap();
        let error = claim(&id).unwrap_err().to_string();
        let expected = format!("(PID {})", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(first);
        claim(&id).unwrap();
    }
}
