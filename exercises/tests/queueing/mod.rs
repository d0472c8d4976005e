//! What the tests of a message queue stand on: a name of its own, and the queue's other end, made without the exercise.

use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{mq_attr, timespec};

/// The name of a queue that no other test uses; the queue is removed at the end.
pub struct Name {
    name: CString,
    owner: u32,
}

impl Name {
    pub fn new() -> Name {
        let name = format!("/syslab-{:016x}", RandomState::new().hash_one(0));
        Name {
            name: CString::new(name).unwrap(),
            owner: std::process::id(),
        }
    }

    pub fn get(&self) -> &CStr {
        &self.name
    }

    /// Whether there is a queue of that name.
    pub fn taken(&self) -> bool {
        Peer::open(self).is_ok()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // SAFETY: a C string, read during the call; nothing is there to be removed, perhaps.
            unsafe { libc::mq_unlink(self.name.as_ptr()) };
        }
    }
}

/// The end of the queue that is the test's.
pub struct Peer(OwnedFd);

impl Peer {
    pub fn create(name: &Name, capacity: i64, size: i64) -> Peer {
        // SAFETY: all-zero is a valid mq_attr.
        let mut attributes: mq_attr = unsafe { std::mem::zeroed() };
        attributes.mq_maxmsg = capacity;
        attributes.mq_msgsize = size;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        // SAFETY: name and attributes are read during the call.
        let queue =
            unsafe { libc::mq_open(name.get().as_ptr(), flags, 0o600, &raw const attributes) };
        Peer::of(queue).expect("the test can create a message queue")
    }

    pub fn open(name: &Name) -> io::Result<Peer> {
        // SAFETY: the name is read during the call.
        Peer::of(unsafe { libc::mq_open(name.get().as_ptr(), libc::O_RDWR) })
    }

    fn of(queue: libc::mqd_t) -> io::Result<Peer> {
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: on Linux a mqd_t is a descriptor; just made, owned by nobody else.
        Ok(Peer(unsafe { OwnedFd::from_raw_fd(queue) }))
    }

    /// Capacity, size, and messages in it now.
    pub fn attributes(&self) -> (i64, i64, i64) {
        // SAFETY: all-zero is a valid mq_attr; written during the call.
        let attributes = unsafe {
            let mut attributes: mq_attr = std::mem::zeroed();
            assert_eq!(libc::mq_getattr(self.fd(), &raw mut attributes), 0);
            attributes
        };
        (
            attributes.mq_maxmsg,
            attributes.mq_msgsize,
            attributes.mq_curmsgs,
        )
    }

    /// The permission bits.
    pub fn mode(&self) -> u32 {
        nix::sys::stat::fstat(&self.0).unwrap().st_mode & 0o7777
    }

    /// Sends without waiting.
    #[track_caller]
    pub fn put(&self, bytes: &[u8], priority: u32) {
        // SAFETY: the message and the moment are read during the call.
        let sent = unsafe {
            libc::mq_timedsend(
                self.fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                priority,
                &raw const PAST,
            )
        };
        assert!(
            sent == 0,
            "a message of the test's finds no room in the queue"
        );
    }

    /// Receives without waiting; none when the queue is empty.
    pub fn take(&self) -> Option<(u32, Vec<u8>)> {
        let mut bytes = vec![0; self.attributes().1 as usize];
        let mut priority = 0;
        // SAFETY: at most `bytes.len()` bytes and one number are written, and the moment is read, during the call.
        let length = unsafe {
            libc::mq_timedreceive(
                self.fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &raw mut priority,
                &raw const PAST,
            )
        };
        bytes.truncate(usize::try_from(length).ok()?);
        Some((priority, bytes))
    }

    fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

static PAST: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
