//! What does a test in namespaces see of the file tree, and what of it may it change?
//!
//! Read-only mounts keep files from being written, but neither devices (a disk, a
//! terminal of the learner's) nor root's /proc/sys, which asks for no capability.
//! So /dev and /proc are new ones.

use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::job::Job;
use super::limits;

const NO: Option<&str> = None;

/// Devices that are what they are for everybody; the rest of /dev stays outside.
const DEVICES: [&str; 9] = [
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    // For exercises that need them; they are there or not.
    "kvm",
    "net/tun",
    "userfaultfd",
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// What of /proc commands the whole machine; the rest is the namespace's own.
const COMMANDS: [&str; 9] = [
    "acpi",
    "bus",
    "driver",
    "fs",
    "irq",
    "mtrr",
    "scsi",
    "sys",
    "sysrq-trigger",
];

/// Sockets below these start programs on behalf of whoever connects, outside of any sandbox.
const SERVICES: [&str; 5] = [
    "/run/user",
    "/run/dbus",
    "/run/systemd",
    "/run/docker.sock",
    "/run/podman",
];

/// In a mount namespace of its own: everything read-only, but TMPDIR, the folder on a disk, /dev/shm and /proc/PID.
pub(super) fn furnish(job: &Job) -> std::io::Result<()> {
    mount(NO, "/", NO, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NO)
        .map_err(|errno| named("a private mount of /", errno))?;
    set(c"/", libc::MOUNT_ATTR_RDONLY, 0).map_err(|errno| named("a read-only /", errno))?;
    if let Some(disk) = &job.disk {
        writable(disk).map_err(|errno| named("a folder on a disk", errno))?;
    }
    devices(needs(job, "/dev/shm")).map_err(|errno| named("a private /dev", errno))?;
    // Gone when TMPDIR is below /dev/shm.
    let _ = std::fs::create_dir_all(&job.scratch);
    let size = format!("size={},mode=0700", limits::SCRATCH);
    memory(&job.scratch, &size).map_err(|errno| named("a private TMPDIR", errno))?;
    // The old one shows the processes outside; a container may forbid a new one.
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        OURS | MsFlags::MS_NOEXEC,
        NO,
    )
    .map_err(|errno| named("a /proc of its own", errno))?;
    for name in COMMANDS {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            read_only(&path).map_err(|errno| named("a read-only /proc/sys", errno))?;
        }
    }
    for path in SERVICES {
        if Path::new(path).exists() && !needs(job, path) {
            hide(Path::new(path)).map_err(|errno| named("an empty /run/user", errno))?;
        }
    }
    Ok(())
}

/// True when the program or something that it is told of lies below `folder`.
fn needs(job: &Job, folder: &str) -> bool {
    let mut told = job.env.iter().map(|(_, value)| Path::new(value));
    job.program.starts_with(folder)
        || job.scratch.starts_with(folder)
        || told.any(|path| path.starts_with(folder))
}

const OURS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// A new /dev over the old one, with terminals of its own; `old_memory` keeps /dev/shm,
/// read-only, where somebody builds or checks out there.
fn devices(old_memory: bool) -> nix::Result<()> {
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
    let open = |name: &str| {
        let path = Path::new("/dev").join(name);
        nix::fcntl::open(&path, flags, nix::sys::stat::Mode::empty()).ok()
    };
    // Held open, because the new /dev covers them.
    let old_memory = old_memory.then(|| open("shm")).flatten();
    let old: Vec<_> = DEVICES
        .iter()
        .filter_map(|name| Some((name, open(name)?)))
        .collect();
    mount(
        Some("tmpfs"),
        "/dev",
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some("size=64k,mode=0755"),
    )?;
    for (name, device) in old {
        let path = Path::new("/dev").join(name);
        let folder = path.parent().expect("below /dev");
        std::fs::create_dir_all(folder).map_err(|error| errno(&error))?;
        std::fs::File::create(&path).map_err(|error| errno(&error))?;
        bind(&device, &path)?;
    }
    for name in ["pts", "shm"] {
        std::fs::create_dir(Path::new("/dev").join(name)).map_err(|error| errno(&error))?;
    }
    mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("newinstance,ptmxmode=0666,mode=0620"),
    )?;
    match old_memory {
        Some(folder) => bind(&folder, Path::new("/dev/shm"))?,
        None => memory(Path::new("/dev/shm"), "size=64m,mode=1777")?,
    }
    for (to, link) in LINKS {
        std::os::unix::fs::symlink(to, link).map_err(|error| errno(&error))?;
    }
    mount(
        NO,
        "/dev",
        NO,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID,
        NO,
    )
}

fn bind(from: &impl AsRawFd, to: &Path) -> nix::Result<()> {
    let from = format!("/proc/self/fd/{}", from.as_raw_fd());
    mount(Some(&*from), to, NO, MsFlags::MS_BIND | MsFlags::MS_REC, NO)
}

fn memory(at: &Path, options: &str) -> nix::Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), OURS, Some(options))
}

fn read_only(path: &Path) -> nix::Result<()> {
    mount(Some(path), path, NO, MsFlags::MS_BIND | MsFlags::MS_REC, NO)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NO, path, NO, flags | OURS | MsFlags::MS_NOEXEC, NO)
}

fn hide(path: &Path) -> nix::Result<()> {
    if path.is_dir() {
        return memory(path, "size=4k,mode=0755");
    }
    mount(Some("/dev/null"), path, NO, MsFlags::MS_BIND, NO)
}

/// A mount of its own, so that it can be written to again; whoever has mounted read-only what is below keeps it so.
fn writable(folder: &Path) -> nix::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    mount(Some(folder), folder, NO, MsFlags::MS_BIND, NO)?;
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes());
    let folder = folder.map_err(|_| nix::Error::EINVAL)?;
    set(&folder, 0, libc::MOUNT_ATTR_RDONLY)
}

/// Changes attributes of every mount at and below `path` (`mount_setattr(2)`, Linux 5.12).
fn set(path: &std::ffi::CStr, attributes: u64, cleared: u64) -> nix::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: cleared,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: `path` ends with its NUL; the kernel reads `attributes` for as many
    // bytes as we say, during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    nix::Error::result(result).map(drop)
}

fn errno(error: &std::io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn named(what: &str, errno: nix::Error) -> std::io::Error {
    std::io::Error::other(format!("{what}: {errno}"))
}
