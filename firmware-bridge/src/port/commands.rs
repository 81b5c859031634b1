//! Messages for the device: raw lines and commands, and the answers to commands.

use super::{Port, layer1};
use crate::layer1::{CommandFailure, CommandToken, Reply};
use crate::message::{Message, Output, Publish, Qos};
use crate::time::Now;
use crate::topics::Below;
use serde::Serialize;
use std::collections::BTreeMap;
use tidemill_base::text::printable;
use tidemill_lines::{CommandId, crc32};

/// Longest raw line that is written for others.
const WRITE_BYTES_MAX: usize = 4_096;

/// Commands under way, by token.
#[derive(Debug, Default)]
pub(super) struct Commands {
    open: BTreeMap<CommandToken, Message>,
    tokens: u64,
}

#[derive(Serialize)]
struct Answer<'a> {
    command: &'a str,
    ok: bool,
    answer: String,
    took_ms: u64,
}

impl Commands {
    /// Returns the answer's publish and the end of the broker's wait, in this order.
    pub(super) fn answered(
        &mut self,
        token: CommandToken,
        reply: Result<Reply, CommandFailure>,
        took_ms: u64,
        default_topic: String,
    ) -> Option<[Output; 2]> {
        let message = self.open.remove(&token)?;
        let (ok, answer) = match reply {
            Ok(reply) => (reply.ok, String::from_utf8_lossy(&reply.text).into_owned()),
            Err(failure) => (false, failure.to_string()),
        };
        let answer = Answer {
            command: &String::from_utf8_lossy(&message.payload),
            ok,
            answer,
            took_ms,
        };
        let publish = Publish {
            id: None,
            topic: message.response_topic.unwrap_or(default_topic),
            payload: serde_json::to_vec(&answer).unwrap_or_default(),
            qos: Qos::AtLeastOnce,
            retain: false,
            eid: None,
            correlation: message.correlation,
        };
        Some([Output::Publish(publish), Output::Settle(message.delivery)])
    }

    fn open(&mut self, message: Message) -> CommandToken {
        self.tokens += 1;
        let token = CommandToken(self.tokens);
        self.open.insert(token, message);
        token
    }
}

impl Port {
    pub(super) fn message(&mut self, now: Now, kind: Below, message: Message) {
        if message.retained {
            // It was meant for a moment that has passed.
            self.counts.write_refused += 1;
            self.out.push(Output::Settle(message.delivery));
            return;
        }
        if kind == Below::Command {
            return self.command(now, message);
        }
        let bytes = &message.payload;
        let is_line = (1..=WRITE_BYTES_MAX).contains(&bytes.len());
        let refusal = match (self.config.write, self.line.is_open(), is_line) {
            (false, ..) => Some("its port has no write = true"),
            (true, false, _) => Some("its port is not open"),
            (true, true, false) => Some("a line has 1 to 4096 bytes"),
            (true, true, true) => None,
        };
        if let Some(why) = refusal {
            self.counts.write_refused += 1;
            tracing::warn!(
                port = self.config.name,
                "a message on {} was not written: {why}",
                printable(&message.topic)
            );
        } else {
            let mut line = message.payload;
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            self.counts.written += 1;
            self.write(line, "write");
        }
        self.out.push(Output::Settle(message.delivery));
    }

    fn command(&mut self, now: Now, message: Message) {
        let text = message.payload.clone();
        let command = match message.name() {
            Some(name) => CommandId(crc32(name.as_bytes())),
            None => CommandId(crc32((self.fresh)().digits())),
        };
        let token = self.commands.open(message);
        let refusal = match (&self.deframer, &self.units) {
            (Some(_), _) => Some(CommandFailure::OneWay),
            (_, Some(_)) => Some(CommandFailure::OnlyRead),
            (None, None) => None,
        };
        if let Some(why) = refusal {
            let topic = self.topic(Below::Answer);
            let reply = Err(why);
            let answer = self.commands.answered(token, reply, 0, topic);
            self.out.extend(answer.into_iter().flatten());
            return;
        }
        let input = layer1::Input::Command {
            token,
            command,
            text: &text,
        };
        self.layer1(now, input);
    }
}
