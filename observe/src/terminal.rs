//! How is a child given a terminal that nobody sits at?
//!
//! The test holds the master of a pseudoterminal (pty(7)) and reads it all the time: its buffer is some 4 KiB, and
//! a child that fills it sleeps. The test also holds a slave, so that reading does not fail with EIO while the
//! child has none open.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Both ends of a pseudoterminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: File,
    pub(crate) slave: OwnedFd,
}

/// The thread that reads the master.
pub(crate) struct Reader {
    master: Option<Arc<File>>,
    slave: Option<OwnedFd>,
    seen: Arc<Mutex<Vec<u8>>>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Terminal {
    pub(crate) fn open() -> io::Result<Terminal> {
        // SAFETY: posix_openpt and its companions take a descriptor that is open and owned here; ptsname_r
        // writes at most `name.len()` bytes, ended by NUL.
        unsafe {
            let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            if master < 0 {
                return Err(io::Error::last_os_error());
            }
            let master = File::from_raw_fd(master);
            let mut name = [0; 64];
            if libc::grantpt(master.as_raw_fd()) < 0
                || libc::unlockpt(master.as_raw_fd()) < 0
                || libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()) != 0
            {
                return Err(io::Error::last_os_error());
            }
            let slave = libc::open(
                name.as_ptr(),
                libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
            );
            if slave < 0 {
                return Err(io::Error::last_os_error());
            }
            let low = OwnedFd::from_raw_fd(slave);
            let slave = libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 64);
            if slave < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Terminal {
                master,
                slave: OwnedFd::from_raw_fd(slave),
            })
        }
    }

    /// Starts reading the master.
    pub(crate) fn read_on(self) -> Reader {
        let master = Arc::new(self.master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        // SAFETY: eventfd takes two integers; the descriptor is owned by nobody else.
        let stop = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let ends = [master.as_raw_fd(), stop.as_raw_fd()];
        let thread = std::thread::spawn({
            let (master, seen) = (Arc::clone(&master), Arc::clone(&seen));
            move || read_until_stopped(&master, ends, &seen)
        });
        Reader {
            master: Some(master),
            slave: Some(self.slave),
            seen,
            stop,
            thread: Some(thread),
        }
    }
}

/// Reads what there is until `stop` becomes readable, and then what is still there.
fn read_until_stopped(mut master: &File, [terminal, stop]: [i32; 2], seen: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    let mut stopping = false;
    loop {
        let mut ready = [terminal, stop].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two pollfds, written during the call. EINTR only makes the loop go round.
        unsafe { libc::poll(ready.as_mut_ptr(), 2, if stopping { 0 } else { -1 }) };
        if ready[0].revents & libc::POLLIN != 0 {
            match master.read(&mut bytes) {
                Ok(count @ 1..) => {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    // A child that floods its terminal until the limit must not take the machine's memory.
                    if seen.len() < crate::inside::FILE_LIMIT as usize {
                        seen.extend_from_slice(&bytes[..count]);
                    } else if stopping {
                        return;
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => return,
            }
        }
        if stopping || ready[0].revents & (libc::POLLHUP | libc::POLLERR) != 0 {
            return;
        }
        stopping = ready[1].revents != 0;
    }
}

impl Reader {
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn write(&self, keys: &[u8]) -> io::Result<()> {
        let master = self
            .master
            .as_ref()
            .ok_or(io::Error::from_raw_os_error(libc::EIO))?;
        (&**master).write_all(keys)
    }

    /// Stops reading and closes both ends.
    pub(crate) fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            // SAFETY: eight bytes of a u64 on the stack, read during the call.
            unsafe { libc::write(self.stop.as_raw_fd(), (&raw const ONE).cast(), 8) };
            let _ = thread.join();
        }
        self.slave = None;
        self.master = None;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close();
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

static ONE: u64 = 1;

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}
