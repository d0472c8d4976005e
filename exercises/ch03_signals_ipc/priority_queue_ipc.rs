//! # How does an urgent message overtake the others?
//!
//! A pipe hands out bytes in the order in which they came. A POSIX message queue, mq_overview(7), hands out
//! whole messages, the most urgent first. It has a name, like a file, and lives in the kernel: no process
//! has to be there to keep it. So whoever sends is never told that nobody reads any more, as a pipe's
//! writer is by SIGPIPE. The reader may have crashed an hour ago; all that shows is a queue that is full.
//! That is why nobody should wait without a timeout, and why mq_timedsend(3) has one.
//!
//! The trap is what that timeout is: not "two seconds" but a moment, so many seconds after 1970
//! (CLOCK_REALTIME). Give it a duration, and it is over before it began. The good side: after a signal
//! (`EINTR`) the call can be made again with the same moment, and the wait gets no longer.
//!
//! Build [`Queue`]: send and receive between processes, by priority, within a time.
//!
//! Man pages: mq_overview(7), mq_open(3), mq_send(3), mq_receive(3), mq_getattr(3), mq_unlink(3),
//! clock_gettime(2).
//! Notebook: `03-signals-ipc.ipynb#five-ways-to-talk`.

use std::ffi::CStr;
use std::io;
use std::time::Duration;

/// A message as it comes out of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The bytes that were sent, as many and as they were.
    pub bytes: Vec<u8>,
    /// The priority they were sent with.
    pub priority: u32,
}

/// A message queue that this process has open. Dropping it closes the descriptor; name and messages stay.
#[derive(Debug)]
pub struct Queue {
    // TODO: what libc::mq_open gives; on Linux that is a descriptor. What else must `receive` know?
}

impl Queue {
    /// Creates a queue for at most `capacity` messages of at most `size` bytes each, and opens it for
    /// sending and receiving. Only its user may open it (mode 0600).
    ///
    /// # Errors
    /// - `EEXIST`: there is a queue of that name. It is left as it is.
    /// - `EINVAL`: `name` is not a slash and a name; `capacity` or `size` is 0, or above the limits in
    ///   /proc/sys/fs/mqueue.
    /// - `EMFILE`: the user's queues have no room for another (`ulimit -q`); and others of mq_open(3).
    pub fn create(name: &CStr, capacity: usize, size: usize) -> io::Result<Queue> {
        // TODO: libc::mq_open with O_CREAT and O_EXCL, a mode and a libc::mq_attr.
        todo!("create the queue with mq_open(3)")
    }

    /// Opens a queue that is there already, of whatever capacity and size, for sending and receiving.
    ///
    /// # Errors
    /// - `ENOENT`: there is none of that name; `EACCES`: it is another user's.
    pub fn open(name: &CStr) -> io::Result<Queue> {
        todo!("open it, and ask mq_getattr(3) how large its messages may be")
    }

    /// Puts a message into the queue; if it is full, waits for room, at most for `timeout`.
    ///
    /// [`Duration::ZERO`] does not wait; [`Duration::MAX`], like every moment beyond what `time_t` can
    /// say, is never over. The wait is one mq_timedsend(3), however long; after a signal it is made again, and
    /// the wait gets neither shorter nor longer. An empty message is a message.
    ///
    /// # Errors
    /// - `ETIMEDOUT`: the queue was full all the time. No message was added.
    /// - `EMSGSIZE`: the message is larger than the queue's `size`.
    /// - `EINVAL`: `priority` is 32768 (`MQ_PRIO_MAX`) or above.
    pub fn send(&self, message: &[u8], priority: u32, timeout: Duration) -> io::Result<()> {
        // TODO: 1. The moment at which the timeout is over, once; libc::mq_timedsend.
        //       2. EINTR: again, until the same moment.
        todo!("find out what moment `timeout` from now is")
    }

    /// Takes the message with the highest priority out of the queue, of several the one that was sent
    /// first; if there is none, waits for one in mq_timedreceive(3), at most for `timeout`, as
    /// [`send`](Queue::send) does.
    ///
    /// It takes this one message and no other: all others stay in the queue, and if this process is
    /// killed, the next reader finds them there, in order.
    ///
    /// # Errors
    /// - `ETIMEDOUT`: the queue was empty all the time.
    pub fn receive(&self, timeout: Duration) -> io::Result<Message> {
        todo!("receive into a buffer that is as large as a message may be")
    }
}

/// Removes the name of a queue. Whoever has it open goes on using it; it ends with the last of them.
///
/// # Errors
/// - `ENOENT`: there is none of that name.
pub fn remove(name: &CStr) -> io::Result<()> {
    todo!("mq_unlink(3)")
}
