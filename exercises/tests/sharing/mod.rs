//! What the tests of shared memory stand on: processes that wait for each other without it, and what they ask the kernel.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use observe::{Calls, Child, Failure};

/// What anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// A descriptor that a child makes, for the test and its other children.
#[track_caller]
pub fn made_in_a_child(make: impl Fn() -> Result<OwnedFd, Failure>) -> Result<OwnedFd, Failure> {
    let (here, there) = UnixStream::pair().unwrap();
    let made = Child::new().keep(&there).run(|| {
        let made = make()?;
        let fds = [made.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(
            there.as_raw_fd(),
            &[IoSlice::new(b"!")],
            &rights,
            MsgFlags::empty(),
            None,
        );
        sent.map(drop)
            .map_err(|errno| Failure::from(std::io::Error::from(errno)))
    });
    made.returned()?;
    let (mut byte, mut space) = ([0], nix::cmsg_space!(RawFd));
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(here.as_raw_fd(), &mut bytes, Some(&mut space), flags).unwrap();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: received right now, owned by nobody else.
            return Ok(unsafe { OwnedFd::from_raw_fd(fds[0]) });
        }
    }
    panic!("the descriptor that the child sent did not come");
}

/// An end of a line on which test and child tell each other "now".
pub struct Line(UnixStream);

impl Line {
    /// The test's end and the child's, which is to be [kept](Child::keep).
    pub fn new() -> (Line, Line) {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(PATIENCE)).unwrap();
        (Line(here), Line(there))
    }

    /// To one who may be gone already: that nothing comes back says so.
    pub fn say(&self) {
        let _ = (&self.0).write(b"!");
    }

    /// False: the other one is gone, or says nothing.
    pub fn hears(&self) -> bool {
        matches!((&self.0).read(&mut [0]), Ok(1))
    }

    /// How often the other one has said something that was not heard yet.
    pub fn count(&self) -> usize {
        let mut bytes = [0; 4096];
        self.0.set_nonblocking(true).unwrap();
        let count = (&self.0).read(&mut bytes).unwrap_or(0);
        self.0.set_nonblocking(false).unwrap();
        count
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// How far a child has come: a count in memory that it shares with the test, which outlives it.
#[derive(Clone, Copy)]
pub struct Tally(&'static AtomicU64);

impl Tally {
    pub fn new() -> Tally {
        let length = NonZeroUsize::new(size_of::<AtomicU64>()).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which nothing else knows and nobody ends; it is zeros, which is a counter at 0.
        Tally(unsafe {
            let shared = mmap_anonymous(None, length, access, MapFlags::MAP_SHARED).unwrap();
            shared.cast().as_ref()
        })
    }

    pub fn one_more(self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls `f` between two getppid(2): see [`between`].
pub fn marked<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: getppid takes nothing.
    unsafe { libc::getppid() };
    let value = f();
    // SAFETY: as above.
    unsafe { libc::getppid() };
    value
}

/// The calls of what was [`marked`], whichever thread made them.
pub fn between(calls: &Calls) -> Calls {
    let marks: Vec<usize> = (0..calls.len())
        .filter(|at| calls[*at].is("getppid"))
        .collect();
    let (first, last) = (marks[0], marks[marks.len() - 1]);
    let inside = calls[first..=last].to_vec();
    calls.filter(|call| {
        !call.is("getppid")
            && inside
                .iter()
                .any(|other| other.start == call.start && other.tid == call.tid)
    })
}

/// Those that wake somebody by futex(2), and whom.
pub fn wakes(calls: &Calls) -> Calls {
    calls.filter(|call| {
        let operation = call.args[1] as i32 & libc::FUTEX_CMD_MASK;
        let wakes = [
            libc::FUTEX_WAKE,
            libc::FUTEX_WAKE_BITSET,
            libc::FUTEX_WAKE_OP,
        ];
        call.is("futex") && wakes.contains(&operation)
    })
}
