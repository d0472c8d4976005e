//! This program as the cell process: it waits for a cell, loads it, runs it, and waits again.
//!
//! Between cells it owns nothing that a cell could break and it would need: no descriptor, no thread, no signal.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use libc::c_void;

use crate::page::{self, Page, SHOWN, command, note, outcome};
use crate::{checkpoint, fitness, stdio, sys};

/// What evcxr generates: takes the variables and gives them back.
type UserFunction = extern "C" fn(*mut c_void) -> *mut c_void;

/// The page, for [`tell`], which cells call from anywhere.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());
/// In a child that a cell forked: it panicked out of the cell's end.
static CHILD_PANICKED: AtomicBool = AtomicBool::new(false);
/// A byte that is 1 in the cell process and 0 in every child it forks.
static MARK: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// Never returns; ends with its host.
pub(crate) fn main(memory: i32) -> ! {
    let page = Page::map(memory).expect("the shared page can be mapped");
    // SAFETY: the descriptor was passed for this mapping alone.
    unsafe { libc::close(memory) };
    PAGE.store(std::ptr::from_ref(page).cast_mut(), Ordering::SeqCst);
    let host = page.host.load(Ordering::SeqCst);
    end_with(host);
    plain_signals();
    sys::set_name(c"syslab-cell");
    tracer::region::join(page.cookie.load(Ordering::SeqCst));
    let flush = start_library();
    make_mark();
    let mut process = Process {
        page,
        flush,
        variables: std::ptr::null_mut(),
        done: 0,
    };
    loop {
        process.next();
    }
}

/// Dies with the host, and may be traced by it.
pub(crate) fn end_with(host: i32) {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
    sys::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } != host {
        // SAFETY: nothing is left to clean up.
        unsafe { libc::_exit(0) };
    }
}

/// Every signal does what it does by default: the kernel ignores some, which would be inherited, and the handlers that
/// Rust's runtime has installed for stack overflows would hide where a cell crashed. SIGPIPE stays ignored, as in every
/// Rust program.
fn plain_signals() {
    // SAFETY: SIG_DFL is a valid disposition of each (SIGKILL, SIGSTOP and libc's own refuse it); the alternate stack
    // isn't in use.
    unsafe {
        for signal in (1..=libc::SIGRTMAX()).filter(|&signal| signal != libc::SIGPIPE) {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none = libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        libc::sigaltstack(&raw const none, std::ptr::null_mut());
    }
}

/// Loads the library that all cells share, so that its symbols are there for every cell; what empties its buffers.
fn start_library() -> Result<extern "C" fn(), String> {
    let path = std::env::var(link::CELL_LIBRARY).unwrap_or_default();
    // SAFETY: there is one thread so far.
    unsafe { std::env::remove_var(link::CELL_LIBRARY) };
    let handle = open_library(&path)?;
    let find =
        |name| symbol(handle, name).ok_or_else(|| format!("{path} is not the cells' library"));
    let (start, flush) = (find(c"syslab_cell_start")?, find(c"syslab_cell_flush")?);
    // SAFETY: both functions have these types in the library, `kernel/cell`.
    unsafe {
        let start: extern "C" fn(extern "C" fn(u32, *const u8, usize) -> bool) =
            std::mem::transmute(start);
        start(tell);
        Ok(std::mem::transmute::<*mut c_void, extern "C" fn()>(flush))
    }
}

fn open_library(path: &str) -> Result<*mut c_void, String> {
    let path = CString::new(path).unwrap_or_default();
    // SAFETY: the path is a C string. Initialisers of the library run, which is what a cell is for.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: after a failure dlerror(3) returns a C string that lasts until the next call.
        return Err(unsafe { CStr::from_ptr(libc::dlerror()) }
            .to_string_lossy()
            .into_owned());
    }
    Ok(handle)
}

fn symbol(handle: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: an open library and a C string.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// What cells call to be heard; see `kernel/cell/src/note.rs`. Whether they are: their children aren't.
extern "C" fn tell(kind: u32, bytes: *const u8, length: usize) -> bool {
    if !in_cell_process() {
        CHILD_PANICKED.fetch_or(kind == note::PANICKED, Ordering::SeqCst);
        return false;
    }
    // SAFETY: set before the first cell; the page is never unmapped by us.
    let page = unsafe { &*PAGE.load(Ordering::SeqCst) };
    if kind == note::VALUE && length > SHOWN {
        let said = format!(
            "a value of {} MiB is not shown: a notebook holds {} MiB; write it to a file",
            length >> 20,
            SHOWN >> 20
        );
        page.note(note::REMARK, said.as_bytes());
        return true;
    }
    // SAFETY: the caller passes a text of this length.
    page.note(kind, unsafe { std::slice::from_raw_parts(bytes, length) });
    true
}

/// Whether this is the cell process itself rather than a child of it: without a system call, which would show in a
/// trace.
fn in_cell_process() -> bool {
    // SAFETY: the mark is mapped for ever.
    unsafe { MARK.load(Ordering::SeqCst).read_volatile() == 1 }
}

/// Makes the mark that a fork wipes (`MADV_WIPEONFORK`).
fn make_mark() {
    // SAFETY: a new private mapping of one page, never unmapped.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        libc::madvise(page, 4096, libc::MADV_WIPEONFORK);
        MARK.store(page.cast(), Ordering::SeqCst);
    }
    set_mark();
}

/// This process is the cell process now.
pub(crate) fn set_mark() {
    // SAFETY: the mark is mapped for ever, and nobody else writes to it.
    unsafe { MARK.load(Ordering::SeqCst).write_volatile(1) };
}

struct Process {
    page: &'static Page,
    /// Why not, if the library that all cells share could not be loaded.
    flush: Result<extern "C" fn(), String>,
    variables: *mut c_void,
    /// The number of the last command done.
    done: u32,
}

impl Process {
    fn next(&mut self) {
        let page = self.page;
        while page.asked.load(Ordering::SeqCst) == self.done {
            page::wait(&page.asked, self.done, None);
        }
        self.done = page.asked.load(Ordering::SeqCst);
        match page.command.load(Ordering::SeqCst) {
            command::RUN => self.run(),
            command::CHECKPOINT if checkpoint::leave(page) => {
                // The copy, which has taken over: what it was copied for is long done.
                self.done = page.asked.load(Ordering::SeqCst);
                return;
            }
            _ => {}
        }
        page.done.store(self.done, Ordering::SeqCst);
        page.ring();
    }

    fn run(&mut self) {
        let page = self.page;
        stdio::renew(page);
        page.outcome.store(outcome::RAN, Ordering::SeqCst);
        let function = match &self.flush {
            Ok(_) => open_library(&page.library.get()),
            Err(why) => Err(format!("{why}; run `cargo xtask lab --prepare`")),
        };
        let function = function.and_then(|library| {
            let name = CString::new(page.function.get()).unwrap_or_default();
            symbol(library, &name)
                .ok_or_else(|| format!("{} is not in the library", name.to_string_lossy()))
        });
        match function {
            Ok(function) => {
                // SAFETY: evcxr generates this function with this type.
                let function: UserFunction = unsafe { std::mem::transmute(function) };
                self.call(function);
            }
            Err(why) => {
                page.message.set(&why);
                page.outcome.store(outcome::NOT_LOADED, Ordering::SeqCst);
            }
        }
        self.flush();
        if let Err(why) = fitness::check(page) {
            page.message.set(&why);
            page.outcome.store(outcome::UNFIT, Ordering::SeqCst);
        }
    }

    fn call(&mut self, function: UserFunction) {
        let traced = self.page.traced.load(Ordering::SeqCst) == 1;
        let me = std::process::id();
        if traced {
            tracer::region::begin();
        }
        self.variables = function(self.variables);
        if !in_cell_process() {
            // A fork that fell out of the cell's end.
            self.flush();
            let status = if CHILD_PANICKED.load(Ordering::SeqCst) {
                101
            } else {
                0
            };
            // SAFETY: ends the child without running what the cell process has registered.
            unsafe { libc::_exit(status) };
        }
        if traced {
            tracer::region::end();
        }
        if std::process::id() != me {
            // As above, but of vfork(2): in our memory, while we are suspended until it is gone.
            // SAFETY: ends the child without running what the cell process has registered.
            unsafe { libc::_exit(0) };
        }
    }

    /// Empties the buffers of Rust's and of C's standard output.
    fn flush(&self) {
        unsafe extern "C" {
            static stdout: *mut libc::FILE;
        }
        if let Ok(flush) = self.flush {
            flush();
        }
        // SAFETY: C's standard output is open for as long as the process lives.
        unsafe { libc::fflush(stdout) };
    }
}
