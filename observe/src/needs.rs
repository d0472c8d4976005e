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
/// Known names: `memfd`, `ptrace`, `pty`. Each is tried, not guessed from a version.
///
/// # Panics
/// On a name that is not known.
pub fn needs(capability: &str) -> bool {
    begin();
    let offered = match capability {
        "memfd" => memfd(),
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

fn memfd() -> bool {
    // SAFETY: the name is a C string; the descriptor made is closed at once.
    unsafe {
        let fd = libc::memfd_create(c"probe".as_ptr(), libc::MFD_CLOEXEC);
        fd >= 0 && libc::close(fd) == 0
    }
}
