//! Which thread does what, from the first socket to the last?
//!
//! The runtime's threads move bytes and answer what needs no engine; `cells`, one thread for each kind of question
//! and `control` call the engine, which may block. None waits for another: an interrupt arrives while a cell runs,
//! a completion while the engine starts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jupyter_protocol::Status;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::Error;
use crate::connection::{Channel, Connection};
use crate::dispatch::Dispatcher;
use crate::engine::SharedEngine;
use crate::hub::Hub;
use crate::session::Session;
use crate::sockets::{self, Inlet};

/// How long the last messages may take to every subscriber.
const LINGER: Duration = Duration::from_millis(500);

/// How long replies get on their way through a ROUTER socket, which doesn't tell when it has written.
const PARTING: Duration = Duration::from_millis(50);

/// Serves the front ends of this connection file until one of them asks for a shutdown.
///
/// A `kernel_info_request` is answered from the first moment, whatever the engine does.
///
/// # Errors
/// When the file can't be read or a socket not be bound; after that nothing stops it.
pub fn serve(connection_file: &Path, engine: SharedEngine) -> Result<(), Error> {
    let connection = Connection::read(connection_file)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sockets")
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let served = runtime.block_on(run(&connection, engine));
    runtime.shutdown_background();
    connection.clean_up();
    served
}

async fn run(connection: &Connection, engine: SharedEngine) -> Result<(), Error> {
    let session = Arc::new(Session::new(connection.key()));
    let (stdin, stdin_requests) = sockets::router(connection.listen(Channel::Stdin)?).await?;
    let hub = Arc::new(Hub::new(session, stdin));
    // Iopub before shell: whoever gets a reply may count on what was published before it.
    tokio::spawn(hub.iopub.clone().accept(connection.listen(Channel::Iopub)?));
    hub.publish(None, Status::starting());
    sockets::heartbeat(connection.listen(Channel::Heartbeat)?).await?;
    let (control, control_requests) = sockets::router(connection.listen(Channel::Control)?).await?;
    let (shell, shell_requests) = sockets::router(connection.listen(Channel::Shell)?).await?;

    let over = Arc::<Notify>::default();
    let dispatcher = Dispatcher::new(engine, hub.clone(), shell, control, over.clone())?;
    let dispatcher = Arc::new(dispatcher);
    tokio::spawn(forward(
        stdin_requests,
        dispatcher.clone(),
        Dispatcher::stdin,
    ));
    tokio::spawn(forward(
        control_requests,
        dispatcher.clone(),
        Dispatcher::control,
    ));
    tokio::spawn(forward(shell_requests, dispatcher, Dispatcher::shell));

    over.notified().await;
    sleep(PARTING).await;
    hub.iopub.drain(LINGER).await;
    Ok(())
}

async fn forward(
    mut requests: Inlet,
    dispatcher: Arc<Dispatcher>,
    take: fn(&Dispatcher, Vec<Bytes>),
) {
    while let Some(frames) = requests.receive().await {
        take(&dispatcher, frames);
    }
}
