//! Renewal of a connection whose certificates changed: we say good-bye, the broker keeps the
//! session and sends again every message that was not acknowledged.

use std::time::{Duration, Instant};

use tracing::info;

use super::super::{Flow, SourceReport};
use super::{End, Intake, STOP_WITHIN};
use tidemill_transport::connection::Connection;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    /// Says good-bye if the certificates are others than those of this connection: messages that
    /// were not acknowledged come again.
    pub(super) fn renew(&mut self, connection: &mut Connection) -> Result<(), End> {
        if self.renew_by.is_some() {
            // The broker did not hang up in time.
            return Err(End::Renewed);
        }
        let now = Instant::now();
        if self.watch.has_changed(now) && self.stop_by.is_none() {
            info!("certificates changed: connecting anew");
            self.renew_by = Some(now + STOP_WITHIN);
            self.leaving = true;
            connection.disconnect()?;
        }
        Ok(())
    }

    pub(super) fn renewed(&mut self) -> Duration {
        self.renew_by = None;
        self.leaving = false;
        self.reconnect.renewed();
        let retry_in = Duration::ZERO;
        let reason = "certificates changed".to_owned();
        self.reports
            .say(SourceReport::Disconnected { reason, retry_in });
        retry_in
    }
}
