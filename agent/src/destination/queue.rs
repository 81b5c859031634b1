//! A destination's messages in memory: waiting or in flight, bounded by count and by bytes. Where
//! there is no room the oldest waiting message goes. Pure.

use std::collections::VecDeque;

use super::Outgoing;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Outgoing>,
    messages_max: usize,
    bytes_max: usize,
    /// Number of messages waiting and in flight.
    messages: usize,
    bytes: usize,
    dropped: usize,
}

impl Queue {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            messages_max,
            bytes_max,
            messages: 0,
            bytes: 0,
            dropped: 0,
        }
    }

    /// Returns `true` if the queue is more than half full, so that a sender that can wait should.
    pub(super) fn is_half_full(&self) -> bool {
        self.messages > self.messages_max / 2 || self.bytes > self.bytes_max / 2
    }

    /// Waiting and in flight.
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    pub(super) fn push(&mut self, message: Outgoing) {
        self.messages += 1;
        self.bytes += size(&message);
        self.waiting.push_back(message);
        while self.messages > self.messages_max || self.bytes > self.bytes_max {
            // Messages in flight cannot be taken back, so the new message itself may have to go.
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.settled(&oldest);
            self.dropped += 1;
        }
    }

    /// The next messages for the wire, oldest first: at most `max`, and of QoS 1 no more than
    /// `acknowledged_max`. Order is kept, so a QoS 0 message waits behind a QoS 1 message.
    pub(super) fn take(&mut self, max: usize, acknowledged_max: usize) -> Vec<Outgoing> {
        let mut room = acknowledged_max;
        let fits = self.waiting.iter().take(max).take_while(|message| {
            message.qos == 0 || {
                let fits = room > 0;
                room = room.saturating_sub(1);
                fits
            }
        });
        let count = fits.count();
        self.waiting.drain(..count).collect()
    }

    /// The next messages for the wire, oldest first: at most `max`, and of so many bytes, or one.
    pub(super) fn take_bytes(&mut self, max: usize, bytes_max: usize) -> Vec<Outgoing> {
        let mut bytes = 0;
        let fits = self.waiting.iter().take(max).take_while(|message| {
            let first = bytes == 0;
            bytes += size(message);
            first || bytes <= bytes_max
        });
        let count = fits.count();
        self.waiting.drain(..count).collect()
    }

    /// Messages that were taken and have to be taken again, oldest first.
    pub(super) fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = Outgoing>) {
        for message in messages.rev() {
            self.waiting.push_front(message);
        }
    }

    /// A message that was taken needs no room any more.
    pub(super) fn settled(&mut self, message: &Outgoing) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size(message));
    }

    /// Number of messages dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }
}

/// Bytes of topic and payload.
pub(super) fn size(message: &Outgoing) -> usize {
    message.topic.as_str().len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn message(name: &str, qos: u8) -> Outgoing {
        Outgoing {
            destination: 0,
            topic: Topic::new(name).unwrap(),
            payload: "x".repeat(9).into(),
            qos,
            retain: false,
        }
    }

    fn names(messages: &[Outgoing]) -> String {
        messages.iter().map(|m| m.topic.as_str()).collect()
    }

    #[test]
    fn oldest_goes_first_when_there_is_no_room() {
        for (messages_max, bytes_max) in [(3, 1_000), (1_000, 30)] {
            let mut queue = Queue::new(messages_max, bytes_max);
            for name in ["a", "b", "c", "d", "e"] {
                queue.push(message(name, 1));
            }
            assert_eq!((queue.take_dropped(), queue.len()), (2, 3));
            assert_eq!(names(&queue.take(10, 10)), "cde");
        }
    }

    #[test]
    fn what_is_in_flight_needs_room_and_is_not_dropped() {
        let mut queue = Queue::new(2, 1_000);
        queue.push(message("a", 1));
        queue.push(message("b", 1));
        let in_flight = queue.take(10, 10);
        queue.push(message("c", 1));
        assert_eq!((queue.take_dropped(), queue.len()), (1, 2));
        queue.put_back(in_flight.into_iter());
        assert_eq!(names(&queue.take(10, 10)), "ab");
    }

    #[test]
    fn order_is_kept_while_the_window_is_full() {
        let mut queue = Queue::new(100, 1_000);
        for (name, qos) in [("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 0)] {
            queue.push(message(name, qos));
        }
        assert_eq!(names(&queue.take(10, 1)), "abc");
        assert_eq!(names(&queue.take(10, 0)), "");
        assert_eq!(names(&queue.take(1, 5)), "d");
        assert_eq!(names(&queue.take(10, 0)), "e");
    }

    #[test]
    fn settled_messages_leave_no_trace() {
        let mut queue = Queue::new(100, 1_000);
        queue.push(message("a", 1));
        for taken in queue.take(10, 10) {
            queue.settled(&taken);
        }
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }
}
