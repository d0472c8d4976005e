//! Opens for writing what root may write to in /proc, /sys and /dev: the core pattern, disks, memory, terminals of
//! others. Opening alone changes nothing. Answers only if all is refused.
//! outcome: passed

use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

pub fn answer() -> u32 {
    let mut paths: Vec<PathBuf> = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/file-max",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/pids/cgroup.procs",
        "/dev/mem",
        "/dev/port",
        "/dev/kmsg",
        "/dev/console",
    ]
    .map(PathBuf::from)
    .to_vec();
    for entry in std::fs::read_dir("/dev").unwrap().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_block_device()) {
            paths.push(entry.path());
        }
    }
    let opened: Vec<String> = paths
        .iter()
        .filter(|path| {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path).is_ok()
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(opened.is_empty(), "it may write to {}", opened.join(", "));
    println!("the answer is 42");
    42
}
