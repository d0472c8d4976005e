//! # Can you read a file without read?
//!
//! Yes: mmap(2) gives its bytes addresses, and the page fault reads. The traps are in what a mapping
//! cannot promise. A file may be cut short by anybody, and asking for its length before touching a page
//! is a race. So the order is turned round: touch first, with a handler that puts zeros where a page is
//! gone, and then ask whether what was read can be believed. A line that ends in `\n` can: zeros hold
//! no `\n`, so it was found before the cut. Only where the search runs to the end of the mapping, or
//! into a page that the handler has put there, is there something to ask. That is one fstat(2) a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file as a part of memory. The mapping ends with this value.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    start: *const u8,
    /// Bytes of the file when it was mapped.
    len: usize,
    guard: &'static Guard,
}

impl MappedFile {
    /// Maps the whole file at `path` with one mmap(2), for reading only.
    ///
    /// An empty file can be opened too. Bytes appended later are not seen. At least 64 files may be
    /// mapped at the same time.
    ///
    /// # Safety
    /// Nobody writes into the file while one of its lines is borrowed: `&[u8]` says that its bytes don't
    /// change, and no call can make sure of that for a file. (It may be cut short: see [`Lines`].)
    ///
    /// # Errors
    /// Whatever the kernel says: `ENOENT`, `EACCES` … from open(2); `ENODEV` from mmap(2) for what
    /// cannot be mapped, such as a directory.
    pub unsafe fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        let guard = Guard::take()?;
        // mmap(2) refuses length 0. Of an empty file a page is mapped, and never touched.
        let size = len.max(1);
        // SAFETY: a new mapping, where the kernel finds room: no memory in use changes.
        let start = unsafe {
            let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
            libc::mmap(
                ptr::null_mut(),
                size,
                protection,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            guard.release();
            return Err(error);
        }
        guard.watch(start as usize, size);
        catch_sigbus();
        let start = start.cast_const().cast();
        Ok(MappedFile {
            file,
            start,
            len,
            guard,
        })
    }

    /// The lines from the first byte on, each without its `\n`.
    pub fn lines(&self) -> Lines<'_> {
        Lines {
            map: self,
            at: 0,
            ended: false,
        }
    }

    /// Where the next `\n` is, from `at` on. Searched by address, as C does it: a slice must not exist
    /// before it is known that its bytes do.
    fn newline_from(&self, at: usize) -> Option<usize> {
        // SAFETY: bytes at..len lie in the mapping, which ends with `self`. A page of it that the
        // kernel has no more is replaced by the handler while memchr(3) reads.
        let found =
            unsafe { libc::memchr(self.start.add(at).cast(), i32::from(b'\n'), self.len - at) };
        (!found.is_null()).then(|| found as usize - self.start as usize)
    }

    /// Asked *after* bytes were read: were they the file's?
    fn was_whole(&self) -> io::Result<()> {
        if self.file.metadata()?.len() < self.len as u64 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else if self.guard.is_damaged() {
            Err(io::Error::from_raw_os_error(libc::EIO))
        } else {
            Ok(())
        }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping of `open`, of this size; every line of it was borrowed from `self`.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.len.max(1)) };
        self.guard.release();
    }
}

/// The lines of a [`MappedFile`], as slices of the mapping itself: nothing is copied.
///
/// - A line ends at `\n`, or at the end of the file if bytes are left there. The `\n` is not part of
///   it. Every other byte is, as it is: `\r`, 0, what isn't UTF-8.
/// - The file may be cut short meanwhile. A line is given only if it was wholly in the file when it was
///   searched, and `None` only if the file is still as long as when it was mapped. Otherwise comes
///   one `Err`, and then `None`. (Lines before the cut may be given until then.)
/// - A line that was given stays readable after a cut: its bytes may turn into 0, which the next
///   `next` reports.
/// - No other reader notices: a `SIGBUS` that comes from elsewhere does what it did before.
///
/// # Errors
/// - [`io::ErrorKind::UnexpectedEof`]: the file has become shorter.
/// - `EIO`: a page could not be had though the file is as long as it was (a broken disk, a file cut and
///   grown again).
#[derive(Debug)]
pub struct Lines<'map> {
    map: &'map MappedFile,
    /// Where the next line starts.
    at: usize,
    ended: bool,
}

impl<'map> Iterator for Lines<'map> {
    type Item = io::Result<&'map [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let Lines { map, at, .. } = *self;
        let newline = map.newline_from(at);
        if (newline.is_none() || map.guard.is_damaged())
            && let Err(error) = map.was_whole()
        {
            self.ended = true;
            return Some(Err(error));
        }
        let end = newline.unwrap_or(map.len);
        if newline.is_none() && at == map.len {
            self.ended = true;
            return None;
        }
        self.at = map.len.min(end + 1);
        // SAFETY: bytes at..end lie in the mapping, which lives as long as 'map, and were just read there.
        // The caller of `open` has promised that nobody writes them. Where a cut takes them away,
        // the handler puts bytes in their place.
        Some(Ok(unsafe {
            std::slice::from_raw_parts(map.start.add(at), end - at)
        }))
    }
}

/// A mapping as the handler may know it: numbers that it can load, nothing to lock or to allocate.
#[derive(Debug)]
struct Guard {
    taken: AtomicBool,
    /// Address of the mapping, 0 while there is none.
    start: AtomicUsize,
    /// Bytes of the mapping: whole pages.
    size: AtomicUsize,
    /// A page was lost and replaced by zeros.
    damaged: AtomicBool,
}

static GUARDS: [Guard; 64] = [const { Guard::new() }; 64];

impl Guard {
    const fn new() -> Guard {
        Guard {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            damaged: AtomicBool::new(false),
        }
    }

    fn take() -> io::Result<&'static Guard> {
        let free = GUARDS
            .iter()
            .find(|guard| !guard.taken.swap(true, Ordering::Acquire));
        free.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))
    }

    /// `start` last: by it the handler knows that the rest is valid.
    fn watch(&self, start: usize, size: usize) {
        self.size
            .store(size.next_multiple_of(page_size()), Ordering::Relaxed);
        self.damaged.store(false, Ordering::Relaxed);
        self.start.store(start, Ordering::Release);
    }

    fn release(&self) {
        self.start.store(0, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
    }

    fn covers(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        start != 0 && (start..start + self.size.load(Ordering::Relaxed)).contains(&address)
    }

    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// What SIGBUS did before. The standard library has a handler of its own, for stack overflows.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once: the disposition of a signal belongs to the whole process.
fn catch_sigbus() {
    BEFORE.get_or_init(|| {
        // SAFETY: a sigaction of zero bytes is a valid one (SIG_DFL, no flags, no signal blocked);
        // sigaction(2) reads the first and writes the second, both ours. The handler has the signature
        // that SA_SIGINFO asks for, and calls only what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let mut before = std::mem::zeroed();
            let result = libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before);
            assert_eq!(
                result, 0,
                "sigaction(2) refuses SIGKILL and SIGSTOP, not SIGBUS"
            );
            before
        }
    });
}

/// Puts zeros where a page of a mapping is gone; the interrupted instruction then runs again. errno
/// stays as it is: a call that succeeds doesn't touch it.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: SA_SIGINFO: the kernel passes a siginfo_t that lives until the handler returns. For
    // a code above 0 it comes from the kernel, and for SIGBUS has the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let mine = GUARDS
        .iter()
        .find(|guard| code > 0 && guard.covers(address));
    if let Some(guard) = mine
        && put_zeros(address)
    {
        guard.damaged.store(true, Ordering::Relaxed);
        return;
    }
    // Not ours, or beyond repair: whoever comes next finds the world as it was without us.
    // SAFETY: sigaction(2) reads one struct, either stored for good or on this stack; raise(3) is
    // async-signal-safe. The instruction that faulted does so again; a signal that was sent has to be
    // sent again, and arrives when this handler is left.
    unsafe {
        let default = std::mem::zeroed();
        let before = BEFORE.get().unwrap_or(&default);
        libc::sigaction(signal, before, ptr::null_mut());
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

/// Replaces the page of `address`, of which there is nothing left, by one of zeros.
fn put_zeros(address: usize) -> bool {
    let size = page_size();
    let page = (address & !(size - 1)) as *mut libc::c_void;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: `page` lies in a mapping of ours that somebody is reading, so it is not unmapped
    // meanwhile, and reading it is a fault at the moment: no byte that anyone could have is lost.
    // mmap is a bare system call in libc, and may be called in a handler.
    unsafe { libc::mmap(page, size, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED }
}

/// Asked each time: sysconf(3) is async-signal-safe, and a lazily set static is not.
fn page_size() -> usize {
    // SAFETY: reads a constant of libc.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
