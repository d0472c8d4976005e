//! Kills the grader, its wardens and an innocent process of the same user, by every way there is to send a signal.
//! outcome: passed

use std::os::fd::AsRawFd as _;

/// Threads of those that hold this test, and of a process that has nothing to do with it.
fn victims() -> Vec<(i32, i32)> {
    let text = |pid: i32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let parent = |pid: i32| -> Option<i32> {
        text(pid, "status").lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
    };
    let above = std::iter::successors(parent(std::process::id() as i32), |pid| parent(*pid));
    // Not pid 1 of a namespace, which is deaf to what comes from inside.
    let above = above.filter(|pid| *pid > 1);
    let mut pids: Vec<i32> = above.filter(|pid| text(*pid, "comm").starts_with("xtask") || text(*pid, "comm").starts_with("exe")).collect();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.extend(all.filter(|pid| text(*pid, "cmdline").contains("syslab-bystander")));
    let threads = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    pids.iter()
        .flat_map(|pid| threads(*pid).map(|task| (*pid, task.file_name().to_str().unwrap().parse().unwrap())))
        .collect()
}

pub fn answer() -> u32 {
    let nobody = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let mut reached = Vec::new();
    for (pid, tid) in victims() {
        // SAFETY: integers, and structs that live across the calls.
        unsafe {
            let group = libc::getpgid(pid);
            let mut info: libc::siginfo_t = std::mem::zeroed();
            info.si_code = -1;
            let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32;
            let folder = std::fs::File::open(format!("/proc/{pid}")).map_or(-1, |folder| {
                let fd = folder.as_raw_fd();
                std::mem::forget(folder);
                fd
            });
            let send = |fd: i32| libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0, 0);
            let ways = [
                ("kill", libc::kill(pid, libc::SIGKILL).into()),
                ("kill of a thread", libc::kill(tid, libc::SIGKILL).into()),
                ("kill of its group", if group > 1 { libc::kill(-group, libc::SIGKILL).into() } else { -1 }),
                ("tkill", libc::syscall(libc::SYS_tkill, tid, libc::SIGKILL)),
                ("tgkill", libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGKILL)),
                ("sigqueue", libc::syscall(libc::SYS_rt_sigqueueinfo, pid, libc::SIGKILL, &raw const info)),
                ("pidfd_send_signal", send(pidfd)),
                ("pidfd_send_signal to /proc", send(folder)),
                ("prlimit", libc::prlimit(pid, libc::RLIMIT_CPU, &raw const nobody, std::ptr::null_mut()).into()),
                ("ptrace", libc::ptrace(libc::PTRACE_SEIZE, tid, 0, 0)),
            ];
            reached.extend(ways.iter().filter(|(_, result)| *result >= 0).map(|(way, _)| format!("{way} {pid}")));
            // A descriptor's owner gets the signal that its owner chose (fcntl(2), F_SETSIG). Whether it is held
            // shows only in who lives on.
            let (reader, writer) = nix::unistd::pipe().unwrap();
            libc::fcntl(reader.as_raw_fd(), 10, libc::SIGKILL); // F_SETSIG
            libc::fcntl(reader.as_raw_fd(), libc::F_SETOWN, pid);
            libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC);
            let _ = nix::unistd::write(&writer, b"x");
        }
    }
    assert!(reached.is_empty(), "it reached others: {}", reached.join(", "));
    println!("the answer is 42");
    42
}
