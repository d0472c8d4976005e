//! What does this machine offer? Each answer comes from trying, not from a version.

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;

use serde::Serialize;

use crate::distribution;

/// One thing that an exercise may need.
#[derive(Serialize)]
pub(crate) struct Capability {
    /// As `needs` names it in `exercises.toml`.
    pub(crate) name: &'static str,
    /// What it is for, in a few words.
    pub(crate) what: &'static str,
    #[serde(skip)]
    probe: fn() -> Result<(), String>,
    /// What to do where it is missing: a command for this machine.
    #[serde(skip)]
    pub(crate) advice: fn() -> String,
}

/// All that exercises may name.
pub(crate) const ALL: [Capability; 10] = [
    Capability {
        name: "ptrace",
        what: "tracing one's own children",
        probe: ptrace,
        advice: distribution::allow_ptrace,
    },
    Capability {
        name: "mqueue",
        what: "POSIX message queues",
        probe: mqueue,
        advice: || "a kernel with CONFIG_POSIX_MQUEUE, and `ulimit -q` above 0".into(),
    },
    Capability {
        name: "userns",
        what: "user namespaces without privilege",
        probe: || unshare(libc::CLONE_NEWUSER),
        advice: distribution::allow_namespaces,
    },
    Capability {
        name: "netns",
        what: "network namespaces without privilege",
        probe: || unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
        advice: distribution::allow_namespaces,
    },
    Capability {
        name: "io_uring",
        what: "io_uring_setup(2)",
        probe: io_uring,
        advice: distribution::allow_io_uring,
    },
    Capability {
        name: "landlock",
        what: "landlock_create_ruleset(2)",
        probe: landlock,
        advice: distribution::allow_landlock,
    },
    Capability {
        name: "userfaultfd",
        what: "userfaultfd(2) for user-mode faults",
        probe: userfaultfd,
        advice: distribution::allow_userfaultfd,
    },
    Capability {
        name: "disk",
        what: "files whose pages can leave memory",
        probe: || observe::disk().map(drop),
        advice: || "set TMPDIR to a folder on a disk".into(),
    },
    Capability {
        name: "kvm",
        what: "/dev/kvm",
        probe: || opens("/dev/kvm"),
        advice: || distribution::allow_device("/dev/kvm", "kvm", "kvm"),
    },
    Capability {
        name: "tun",
        what: "/dev/net/tun",
        probe: || opens("/dev/net/tun"),
        advice: || distribution::allow_device("/dev/net/tun", "tun", "netdev"),
    },
];

impl Capability {
    /// Tries it; the error is the kernel's reason.
    pub(crate) fn probe(&self) -> Result<(), String> {
        (self.probe)()
    }
}

/// The first of `needs` that this machine lacks, with the reason.
pub(crate) fn missing(needs: &[String]) -> Option<String> {
    needs.iter().find_map(
        |need| match ALL.iter().find(|capability| capability.name == need) {
            Some(capability) => capability
                .probe()
                .err()
                .map(|reason| format!("{need} ({reason})")),
            None => Some(format!(
                "{need}, which this version of the course can't probe"
            )),
        },
    )
}

fn unshare(flags: libc::c_int) -> Result<(), String> {
    in_child(|| {
        // SAFETY: takes an integer; the child has one thread and ends right after.
        errno(unsafe { libc::unshare(flags) }.into())
    })
}

fn ptrace() -> Result<(), String> {
    in_child(|| {
        // SAFETY: the request takes no pointer; it concerns this child only.
        errno(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) })
    })
}

fn mqueue() -> Result<(), String> {
    let name = std::ffi::CString::new(format!("/syslab-probe-{}", std::process::id()))
        .expect("a number has no zero byte");
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    // SAFETY: the name is a C string, and a null attribute asks for the defaults.
    let queue = unsafe {
        libc::mq_open(
            name.as_ptr(),
            flags,
            0o600,
            std::ptr::null::<libc::mq_attr>(),
        )
    };
    reason(errno(queue.into()))?;
    // SAFETY: the queue was made above and is nobody else's.
    unsafe {
        libc::mq_unlink(name.as_ptr());
        libc::mq_close(queue);
    }
    Ok(())
}

fn io_uring() -> Result<(), String> {
    let mut parameters = [0u32; 30];
    // SAFETY: the kernel reads and writes one io_uring_params, 120 bytes, during the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    descriptor(fd)
}

fn userfaultfd() -> Result<(), String> {
    const UFFD_USER_MODE_ONLY: libc::c_int = 1;
    // SAFETY: takes an integer and returns a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
    descriptor(fd)
}

fn landlock() -> Result<(), String> {
    // SAFETY: a null attribute of size 0 with flag 1 asks for the version only.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            1u32,
        )
    };
    reason(errno(version))
}

fn opens(path: &str) -> Result<(), String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new(path));
    file.map(drop).map_err(|error| error.to_string())
}

fn descriptor(fd: libc::c_long) -> Result<(), String> {
    reason(errno(fd))?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) });
    Ok(())
}

/// 0, or the errno of the call that returned `result`.
fn errno(result: libc::c_long) -> i32 {
    if result < 0 {
        nix::errno::Errno::last_raw()
    } else {
        0
    }
}

fn reason(errno: i32) -> Result<(), String> {
    if errno == 0 {
        Ok(())
    } else {
        Err(nix::errno::Errno::from_raw(errno).to_string())
    }
}

/// Tries in a child what would change the caller; `call` gives an errno.
fn in_child(call: impl FnOnce() -> i32) -> Result<(), String> {
    // SAFETY: the child makes one system call and ends; it allocates nothing.
    match unsafe { nix::unistd::fork() } {
        Err(errno) => Err(errno.to_string()),
        Ok(nix::unistd::ForkResult::Child) => {
            let status = call();
            // SAFETY: `_exit(2)` takes no pointer; nothing of the parent's is flushed twice.
            unsafe { libc::_exit(status) }
        }
        Ok(nix::unistd::ForkResult::Parent { child }) => match nix::sys::wait::waitpid(child, None)
        {
            Ok(nix::sys::wait::WaitStatus::Exited(_, status)) => reason(status),
            Ok(status) => Err(format!("the probe ended with {status:?}")),
            Err(errno) => Err(errno.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_probed_is_missing() {
        assert!(missing(&["teleport".into()]).unwrap().contains("teleport"));
        assert_eq!(missing(&[]), None);
    }

    #[test]
    fn a_probe_says_why_not() {
        assert!(
            opens("/nowhere/at/all")
                .unwrap_err()
                .contains("No such file")
        );
        assert!(reason(libc::EPERM).unwrap_err().contains("EPERM"));
    }
}
