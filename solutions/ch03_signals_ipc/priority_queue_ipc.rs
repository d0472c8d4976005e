//! # How does an urgent message overtake the others?
//!
//! By its priority: the kernel sorts. What is left to do is to ask for the right things: a buffer as large as
//! the queue says, and a timeout as the moment at which it is over. That moment is found out once: a call that
//! is made again after `EINTR` then waits for what is left, without any arithmetic.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libc::{mq_attr, mqd_t, timespec};

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
    fd: OwnedFd,
    /// Most bytes of a message: a smaller buffer is refused with `EMSGSIZE`, whatever is in the queue.
    size: usize,
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
        // SAFETY: all-zero is a valid mq_attr; musl's has padding that cannot be named.
        let mut attributes: mq_attr = unsafe { mem::zeroed() };
        // What does not fit is above any limit, and refused as negative.
        attributes.mq_maxmsg = capacity.try_into().unwrap_or(-1);
        attributes.mq_msgsize = size.try_into().unwrap_or(-1);
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        // SAFETY: the name is a C string and `attributes` initialised; both are only read, during the call.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
        Ok(Queue {
            fd: owned(queue)?,
            size,
        })
    }

    /// Opens a queue that is there already, of whatever capacity and size, for sending and receiving.
    ///
    /// # Errors
    /// - `ENOENT`: there is none of that name; `EACCES`: it is another user's.
    pub fn open(name: &CStr) -> io::Result<Queue> {
        // SAFETY: the name is a C string, read during the call.
        let fd = owned(unsafe { libc::mq_open(name.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })?;
        // SAFETY: all-zero is a valid mq_attr; it is written during the call, and `fd` is open.
        let attributes = unsafe {
            let mut attributes: mq_attr = mem::zeroed();
            check(libc::mq_getattr(fd.as_raw_fd(), &raw mut attributes))?;
            attributes
        };
        Ok(Queue {
            fd,
            size: attributes.mq_msgsize as usize,
        })
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
        let until = moment(timeout);
        // SAFETY: the kernel reads `message` for its length, and `until`, during the call.
        let send = || unsafe {
            check(libc::mq_timedsend(
                self.fd.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                priority,
                &raw const until,
            ))
        };
        while_interrupted(send).map(drop)
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
        let until = moment(timeout);
        let mut bytes = vec![0; self.size];
        let mut priority = 0;
        // SAFETY: the kernel writes at most `bytes.len()` bytes to `bytes` and one number to `priority`, and
        // reads `until`, during the call.
        let receive = || unsafe {
            check(libc::mq_timedreceive(
                self.fd.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &raw mut priority,
                &raw const until,
            ))
        };
        let length = while_interrupted(receive)?;
        bytes.truncate(length as usize);
        Ok(Message { bytes, priority })
    }
}

/// Removes the name of a queue. Whoever has it open goes on using it; it ends with the last of them.
///
/// # Errors
/// - `ENOENT`: there is none of that name.
pub fn remove(name: &CStr) -> io::Result<()> {
    // SAFETY: the name is a C string, read during the call.
    check(unsafe { libc::mq_unlink(name.as_ptr()) }).map(drop)
}

/// The moment `timeout` from now, or the last there is.
fn moment(timeout: Duration) -> timespec {
    // A clock before 1970 counts as 1970.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let then = now.saturating_add(timeout);
    timespec {
        tv_sec: then.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: then.subsec_nanos().into(),
    }
}

fn owned(queue: mqd_t) -> io::Result<OwnedFd> {
    let fd = check(queue)?;
    // SAFETY: on Linux a mqd_t is a descriptor, mq_overview(7); it was just made and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a call again for as long as it fails with `EINTR`.
fn while_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn check<T: PartialOrd + Default>(result: T) -> io::Result<T> {
    if result < T::default() {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
