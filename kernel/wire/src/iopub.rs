//! How does output reach every front end, and a stalled one harm none?
//!
//! A front end that is suspended keeps its connection and stops reading. A queue without limit would then take all
//! memory, one that waits would stop the kernel, and one that counts messages (the `zeromq` crate's PUB: 100 000)
//! holds gigabytes of them. So each subscriber has its own queue here, limited in bytes; what doesn't fit is lost to
//! this subscriber only, and the one that reads fastest sets the pace. A publisher needs little of ZMTP, and speaking it here also makes it an XPUB: who subscribes
//! is welcomed (JEP 65) and knows from then on that nothing is missed.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, sleep, timeout};
use zeromq::Listener;

use crate::subscriber::{Pace, Subscriber, Weight};
use crate::zmtp::{self, Frame};

const HANDSHAKE: Duration = Duration::from_secs(30);

type Welcome = Box<dyn Fn(&[u8]) -> Bytes + Send + Sync>;

/// The publishing socket.
pub(crate) struct Iopub {
    subscribers: Mutex<Vec<Arc<Subscriber>>>,
    welcome: Welcome,
}

impl Iopub {
    /// A socket without subscribers; `welcome` makes the message for a new subscription.
    pub(crate) fn new(welcome: impl Fn(&[u8]) -> Bytes + Send + Sync + 'static) -> Self {
        Self {
            subscribers: Mutex::default(),
            welcome: Box::new(welcome),
        }
    }

    /// Waits while all front ends that read are behind; not for those that don't read.
    pub(crate) fn keep_pace(&self) {
        while self.is_ahead() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_ahead(&self) -> bool {
        let subscribers = self.subscribers.lock().unwrap();
        let paces = subscribers.iter().map(|one| one.pace());
        paces.filter(|pace| *pace != Pace::Away).min() == Some(Pace::Behind)
    }

    /// Queues an encoded message for all who subscribed to its topic; never waits.
    pub(crate) fn send(&self, topic: &[u8], message: &Bytes, weight: Weight) {
        for subscriber in &*self.subscribers.lock().unwrap() {
            subscriber.push(topic, message, weight);
        }
    }

    /// Waits until everything is written, or the time is over.
    pub(crate) async fn drain(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while Instant::now() < end && !self.is_drained() {
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn is_drained(&self) -> bool {
        self.subscribers
            .lock()
            .unwrap()
            .iter()
            .all(|one| one.is_drained())
    }

    /// Accepts subscribers for ever.
    pub(crate) async fn accept(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let stream =
                        pause_if_failed(listener.accept().await.map(|(stream, _)| stream)).await;
                    if let Some(stream) = stream.filter(|stream| stream.set_nodelay(true).is_ok()) {
                        tokio::spawn(self.clone().serve(stream));
                    }
                }
            }
            Listener::Ipc(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                loop {
                    let stream =
                        pause_if_failed(listener.accept().await.map(|(stream, _)| stream)).await;
                    if let Some(stream) = stream {
                        tokio::spawn(self.clone().serve(stream));
                    }
                }
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn serve<S>(self: Arc<Self>, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(Ok(())) = timeout(HANDSHAKE, zmtp::shake_hands(&mut stream)).await else {
            return;
        };
        let (reader, writer) = tokio::io::split(stream);
        let subscriber = Arc::new(Subscriber::default());
        self.subscribers.lock().unwrap().push(subscriber.clone());
        let writer = tokio::spawn(subscriber.clone().write(writer));
        // Reading ends when the peer goes, writing too when it is reset; the reader is told of both.
        let _ = self.read(&subscriber, reader).await;
        writer.abort();
        self.subscribers
            .lock()
            .unwrap()
            .retain(|other| !Arc::ptr_eq(other, &subscriber));
    }

    async fn read<S>(&self, subscriber: &Subscriber, mut reader: ReadHalf<S>) -> io::Result<()>
    where
        S: AsyncRead + Send + Unpin,
    {
        loop {
            let Frame::Message(body) = zmtp::read_frame(&mut reader).await? else {
                continue;
            };
            match body.split_first() {
                Some((1, topic)) => subscriber.subscribe(topic, (self.welcome)(topic)),
                Some((0, topic)) => subscriber.unsubscribe(topic),
                _ => {}
            }
        }
    }
}

/// Descriptors may be used up (EMFILE) for a while: trying again at once would take a whole processor.
async fn pause_if_failed<S>(accepted: io::Result<S>) -> Option<S> {
    if accepted.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    accepted.ok()
}
