//! How do requests come in and replies go out?
//!
//! Shell, control and stdin are ROUTER sockets: each message starts with the identity of its front end. Sending may
//! have to wait for one that doesn't read, so each socket has a task that sends; threads only queue.
//!
//! Known limit: `zeromq` 0.7 knows a connection by its identity alone. When a front end comes back under its old one
//! within the microseconds in which the old connection ends, the end may remove the new connection (seen once in some
//! hundred times); it has to connect again.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use zeromq::{
    Listener, RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend,
    ZmqMessage,
};

use crate::Error;

/// How long a reply may wait for room in its front end's queue (100 000 messages) before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a front end may take to connect its stdin; it does so at the time of its first request.
const CONNECTING: Duration = Duration::from_secs(2);

/// Opens a ROUTER socket; to be called on the runtime.
pub(crate) async fn router(listener: Listener) -> Result<(Outlet, Inlet), Error> {
    let mut socket = RouterSocket::new();
    socket
        .bind_listener(listener)
        .await
        .map_err(Error::Transport)?;
    let (sending, receiving) = socket.split();
    let (sender, queue) = unbounded_channel();
    tokio::spawn(send_all(queue, sending));
    Ok((Outlet(sender), Inlet(receiving)))
}

/// Echoes whatever comes, with its routing frames: a front end's REQ socket measures that we live.
pub(crate) async fn heartbeat(listener: Listener) -> Result<(), Error> {
    let (outlet, mut inlet) = router(listener).await?;
    tokio::spawn(async move {
        while let Some(frames) = inlet.receive().await {
            outlet.send(frames);
        }
    });
    Ok(())
}

/// Where a socket's requests come from.
pub(crate) struct Inlet(RouterRecvHalf);

impl Inlet {
    /// The next message, identity first; none once the socket is closed.
    pub(crate) async fn receive(&mut self) -> Option<Vec<Bytes>> {
        self.0.recv().await.ok().map(ZmqMessage::into_vec)
    }
}

/// Where a socket's replies go.
#[derive(Clone, Debug)]
pub(crate) struct Outlet(UnboundedSender<Outgoing>);

#[derive(Debug)]
struct Outgoing {
    frames: Vec<Bytes>,
    taken: Option<SyncSender<bool>>,
}

impl Outlet {
    /// Queues a message, identity first.
    pub(crate) fn send(&self, frames: Vec<Bytes>) {
        // It fails when the runtime has ended, and with it whoever would have read this.
        let _ = self.0.send(Outgoing {
            frames,
            taken: None,
        });
    }

    /// Whether a front end of this identity takes the message; waits for it to connect.
    pub(crate) fn deliver(&self, frames: &[Bytes]) -> bool {
        let start = Instant::now();
        while !self.try_deliver(frames.to_vec()) {
            if start.elapsed() > CONNECTING {
                return false;
            }
            sleep(Duration::from_millis(20));
        }
        true
    }

    fn try_deliver(&self, frames: Vec<Bytes>) -> bool {
        let (sender, taken) = sync_channel(1);
        self.0
            .send(Outgoing {
                frames,
                taken: Some(sender),
            })
            .is_ok()
            && taken.recv() == Ok(true)
    }
}

async fn send_all(mut queue: UnboundedReceiver<Outgoing>, mut socket: RouterSendHalf) {
    while let Some(Outgoing { frames, taken }) = queue.recv().await {
        let sent = match ZmqMessage::try_from(frames) {
            Ok(message) => timeout(PATIENCE, socket.send(message))
                .await
                .is_ok_and(|sent| sent.is_ok()),
            Err(_) => false,
        };
        if let Some(taken) = taken {
            let _ = taken.send(sent);
        }
    }
}
