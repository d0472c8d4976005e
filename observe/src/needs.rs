//! Can this machine show what the test wants to see?

use crate::Child;
use crate::report::{Note, begin, emit};
use std::sync::OnceLock;

/// Whether the machine offers a capability. Where it does not, the grader is told, and the test returns:
///
/// ```
/// if !observe::needs("memfd") {
///     return;
/// }
/// ```
///
/// Known names: `direct_io` (on [`disk`](crate::disk())), `disk`, `memfd`, `mqueue`, `pidns` (a pid namespace, without
/// privilege), `ptrace`, `pty`. Each is tried, not guessed from a version.
///
/// # Panics
/// On a name that is not known.
pub fn needs(capability: &str) -> bool {
    begin();
    let offered = match capability {
        "direct_io" => crate::disk().is_ok_and(|place| crate::disk::direct_io(&place)),
        "disk" => crate::disk().is_ok(),
        "memfd" => memfd(),
        "mqueue" => mqueue(),
        "pidns" => pidns(),
        "ptrace" => ptrace(),
        "pty" => crate::terminal::Terminal::open().is_ok(),
        other => panic!("no such capability: {other}"),
    };
    if !offered {
        eprintln!("skipped: this machine does not offer {capability}");
        emit(&Note::Skipped {
            needs: capability.to_owned(),
        });
    }
    offered
}

fn ptrace() -> bool {
    // Yama's ptrace_scope, a seccomp filter and an old kernel all show only when it is done.
    static OFFERED: OnceLock<bool> = OnceLock::new();
    *OFFERED.get_or_init(|| {
        Child::new()
            .traced()
            .try_launch(|| (), true)
            .is_ok_and(|child| child.ended())
    })
}

fn pidns() -> bool {
    // The first fork(2) afterwards is what fails where a namespace may be had but not used.
    let run = Child::new().run(|| {
        // SAFETY: integers only; the child has one thread, and its copy does nothing but exit.
        unsafe {
            libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) == 0
                && match libc::fork() {
                    0 => libc::_exit(i32::from(libc::getpid() != 1)),
                    first => {
                        let mut status = -1;
                        libc::waitpid(first, &raw mut status, 0) == first && status == 0
                    }
                }
        }
    });
    run.end == crate::End::Returned(true)
}

fn memfd() -> bool {
    // SAFETY: the name is a C string; the descriptor made is closed at once.
    unsafe {
        let fd = libc::memfd_create(c"probe".as_ptr(), libc::MFD_CLOEXEC);
        fd >= 0 && libc::close(fd) == 0
    }
}

fn mqueue() -> bool {
    // One name a process: tests of several processes may ask at the same time.
    let name = std::ffi::CString::new(format!("/probe-{}", std::process::id()))
        .expect("a number has no zero byte");
    // SAFETY: the name is a C string; a null attribute asks for the defaults. The queue made is removed and closed at once.
    unsafe {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        let queue = libc::mq_open(
            name.as_ptr(),
            flags,
            0o600,
            std::ptr::null::<libc::mq_attr>(),
        );
        queue >= 0 && libc::mq_unlink(name.as_ptr()) == 0 && libc::mq_close(queue) == 0
    }
}
