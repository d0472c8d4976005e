//! How much may wait for one front end, and what is lost first?
//!
//! Three amounts of bytes: above [`AHEAD`] whoever publishes should wait, as a process waits for its terminal, or an
//! interrupt would be seen only after everything that was printed before it; above [`LIMIT`], which takes a front end
//! that doesn't read, output is lost; the [`RESERVE`] is for messages without which a front end would wait forever.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter, WriteHalf};
use tokio::sync::Notify;

/// How far a publisher gets ahead of a front end that reads.
const AHEAD: usize = 4 << 20;

/// A front end that took no byte for so long is not waited for.
const STALLED: Duration = Duration::from_secs(2);

/// How many bytes wait for one subscriber before output to it is lost.
const LIMIT: usize = 128 << 20;

/// What is kept free of output.
const RESERVE: usize = 8 << 20;

/// How much is written at once.
const CHUNK: usize = 64 * 1024;

/// Whether a message may be lost to a subscriber that doesn't read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Output,
    State,
}

/// What a subscriber does with its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// It has read most of it.
    Ready,
    /// It has a lot to read, and reads.
    Behind,
    /// It doesn't read, or wants nothing.
    Away,
}

/// One connection and what waits for it.
#[derive(Default)]
pub(crate) struct Subscriber {
    queue: Mutex<Queue>,
    more: Notify,
}

struct Queue {
    topics: Vec<Vec<u8>>,
    waiting: VecDeque<Bytes>,
    /// Of `waiting` and of the message being written.
    bytes: usize,
    /// When bytes were last taken, or there were none to take.
    moved: Instant,
}

impl Subscriber {
    /// Queues a message if its topic was subscribed to and there is room.
    pub(crate) fn push(&self, topic: &[u8], message: &Bytes, weight: Weight) {
        let mut queue = self.queue.lock().unwrap();
        if queue.topics.iter().any(|prefix| topic.starts_with(prefix))
            && queue.fits(message, weight)
        {
            self.put(&mut queue, message.clone());
        }
    }

    fn put(&self, queue: &mut Queue, message: Bytes) {
        if queue.bytes == 0 {
            queue.moved = Instant::now();
        }
        queue.bytes += message.len();
        queue.waiting.push_back(message);
        self.more.notify_one();
    }

    /// Adds a topic, and queues the welcome to it.
    pub(crate) fn subscribe(&self, topic: &[u8], welcome: Bytes) {
        let mut queue = self.queue.lock().unwrap();
        queue.topics.push(topic.to_vec());
        if queue.fits(&welcome, Weight::State) {
            self.put(&mut queue, welcome);
        }
    }

    /// Removes a topic.
    pub(crate) fn unsubscribe(&self, topic: &[u8]) {
        let topics = &mut self.queue.lock().unwrap().topics;
        if let Some(index) = topics.iter().position(|other| other == topic) {
            topics.swap_remove(index);
        }
    }

    /// Whether it is worth waiting for.
    pub(crate) fn pace(&self) -> Pace {
        let queue = self.queue.lock().unwrap();
        if queue.topics.is_empty() {
            Pace::Away
        } else if queue.bytes < AHEAD {
            Pace::Ready
        } else if queue.moved.elapsed() < STALLED {
            Pace::Behind
        } else {
            Pace::Away
        }
    }

    /// Whether everything has been handed to the system.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.lock().unwrap().bytes == 0
    }

    /// Writes what is queued, until the connection fails.
    pub(crate) async fn write<S: AsyncWrite>(
        self: Arc<Self>,
        writer: WriteHalf<S>,
    ) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(CHUNK, writer);
        loop {
            let next = self.queue.lock().unwrap().waiting.pop_front();
            let Some(message) = next else {
                self.more.notified().await;
                continue;
            };
            for chunk in message.chunks(CHUNK) {
                writer.write_all(chunk).await?;
                self.queue.lock().unwrap().moved = Instant::now();
            }
            if self.queue.lock().unwrap().waiting.is_empty() {
                writer.flush().await?;
            }
            self.queue.lock().unwrap().bytes -= message.len();
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        let (topics, waiting) = (Vec::new(), VecDeque::new());
        Self {
            topics,
            waiting,
            bytes: 0,
            moved: Instant::now(),
        }
    }
}

impl Queue {
    fn fits(&self, message: &Bytes, weight: Weight) -> bool {
        let limit = if weight == Weight::State {
            LIMIT + RESERVE
        } else {
            LIMIT
        };
        self.bytes + message.len() <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(topic: &[u8]) -> Subscriber {
        let subscriber = Subscriber::default();
        subscriber.subscribe(topic, Bytes::new());
        subscriber.queue.lock().unwrap().waiting.clear();
        subscriber
    }

    fn waiting(subscriber: &Subscriber) -> usize {
        subscriber.queue.lock().unwrap().waiting.len()
    }

    #[test]
    fn topic_is_a_prefix() {
        let subscriber = subscribed(b"stream");
        let message = Bytes::from_static(b"message");
        subscriber.push(b"stream.stdout", &message, Weight::Output);
        subscriber.push(b"kernel.status", &message, Weight::Output);
        assert_eq!(waiting(&subscriber), 1);
        subscriber.unsubscribe(b"stream");
        subscriber.push(b"stream.stdout", &message, Weight::Output);
        assert_eq!(waiting(&subscriber), 1);
    }

    #[test]
    fn full_queue_loses_output_before_it_loses_state() {
        let subscriber = subscribed(b"");
        let large = Bytes::from(vec![0; RESERVE]);
        for _ in 0..2 * LIMIT / RESERVE {
            subscriber.push(b"", &large, Weight::Output);
        }
        assert_eq!(waiting(&subscriber), LIMIT / RESERVE);
        subscriber.push(b"", &large, Weight::State);
        subscriber.push(b"", &large, Weight::State);
        assert_eq!(waiting(&subscriber), LIMIT / RESERVE + 1);
    }

    #[test]
    fn reader_is_waited_for_and_a_stalled_one_is_not() {
        let subscriber = subscribed(b"");
        assert_eq!(subscriber.pace(), Pace::Ready);
        subscriber.push(b"", &Bytes::from(vec![0; AHEAD]), Weight::Output);
        assert_eq!(subscriber.pace(), Pace::Behind);
        subscriber.queue.lock().unwrap().moved -= STALLED;
        assert_eq!(subscriber.pace(), Pace::Away);
        subscriber.unsubscribe(b"");
        assert_eq!(subscriber.pace(), Pace::Away);
    }
}
