//! Facts of processes whose facts are known.

use observe::{Child, Mapping, Process, Scratch, Signal, assert_seen, descendants, zombies};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

#[test]
fn a_plain_child() {
    let facts = Child::new().run(|| Process::me().facts()).returned();
    let wanted = "\
parent: the test
session: the one it was started in
group: its own
terminal: none
cwd: the one it was started in
umask: 022
descriptors:
  0: /dev/null, read
  1: the captured stdout, read and write
  2: the captured stderr, read and write
blocked: []
ignored: [SIGPIPE]
caught: []
threads: 1";
    assert_eq!(observe::text(&facts), wanted);
}

#[test]
fn a_change_is_told_by_what_changed() {
    let before = Child::new().run(|| Process::me().facts()).returned();
    let mut after = before.clone();
    assert_eq!(before.changed_to(&after), None);
    after.descriptors.insert(4, "a pipe, write".to_owned());
    assert_eq!(
        before.changed_to(&after).as_deref(),
        Some("it has now `4: a pipe, write`")
    );
    assert_eq!(
        after.changed_to(&before).as_deref(),
        Some("it has no longer `4: a pipe, write`")
    );
    after.umask = "000".to_owned();
    assert_eq!(
        before.changed_to(&after).as_deref(),
        Some("it has now `umask: 000`, `4: a pipe, write`, and had `umask: 022`")
    );
}

#[test]
fn facts_from_inside_and_from_outside_are_the_same() {
    let child = Child::new().start(|| {
        let facts = Process::me().facts();
        println!("ready");
        // SAFETY: pause takes nothing.
        unsafe { libc::pause() };
        facts
    });
    let child = child.does("say that it is ready", |child| child.stdout() == b"ready\n");
    let outside = child.process().unwrap().facts();
    drop(child);
    let inside = Child::new().run(|| Process::me().facts()).returned();
    assert_eq!(outside, inside);
}

#[test]
fn a_child_on_a_terminal_leads_a_session_that_has_it() {
    let run = Child::new().terminal().run(|| {
        println!("said on the terminal");
        Process::me()
    });
    assert_eq!(run.terminal_text(), "said on the terminal\n");
    assert_eq!(run.stdout, b"");
    let process = run.returned();
    assert!(process.leads_session() && process.has_terminal() && process.in_foreground());
    let facts = process.facts();
    assert_eq!(facts.session, "the one it was started in, which it leads");
    assert_eq!(facts.descriptors[&0], "the terminal, read and write");
}

#[test]
fn a_terminal_takes_keys_and_sends_sigint() {
    let child = Child::new().terminal().start(|| {
        println!("ready");
        loop {
            std::thread::park();
        }
    });
    let child = child.does("say that it is ready", |child| {
        child.terminal().starts_with(b"ready")
    });
    child.type_keys(b"\x03").unwrap();
    let run: observe::Run<()> = child.wait();
    run.killed_by(libc::SIGINT);
}

#[test]
fn hanging_up_sends_sighup() {
    let mut child = Child::new().terminal().start(|| {
        loop {
            std::thread::park();
        }
    });
    child.hang_up();
    let run: observe::Run<()> = child.wait();
    run.killed_by(libc::SIGHUP);
}

#[test]
fn a_flood_on_the_terminal_does_not_block_the_child() {
    let run = Child::new().terminal().run(|| {
        for line in 0..20_000 {
            println!("{line}");
        }
    });
    assert!(run.terminal_text().ends_with("19999\n"));
    run.returned();
}

#[test]
fn a_daemon_is_in_a_session_that_it_does_not_lead() {
    let child = Child::new().terminal().start(|| {
        // SAFETY: forks in a process of one thread; umask, setsid, chdir and pause touch no memory but the string.
        unsafe {
            // The end of a session's leader is a SIGHUP to the group in the foreground, its new child among them.
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            if libc::fork() > 0 {
                libc::_exit(0);
            }
            libc::setsid();
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            if libc::fork() > 0 {
                libc::_exit(0);
            }
            libc::umask(0o027);
            libc::chdir(c"/".as_ptr());
            for fd in 0..=2 {
                libc::close(fd);
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
            libc::pause();
        }
    });
    assert!(child.ended());
    let child = child.does("become a daemon", |child| {
        matches!(child.others().as_slice(), [daemon] if daemon.descriptors.get(2).is_some_and(|fd| !fd.terminal))
    });
    let daemon = child.others().remove(0);
    assert_seen!("facts__daemon", daemon.facts());
    child.wait().exited(0);
}

#[test]
fn blocked_ignored_and_caught_signals_are_named() {
    extern "C" fn nothing(_: i32) {}
    let process = Child::new()
        .run(|| {
            // SAFETY: the handler does nothing; the set lives across the calls.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                libc::sigaddset(&raw mut set, libc::SIGRTMIN() + 1);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
                libc::signal(libc::SIGTERM, nothing as *const () as usize);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                libc::raise(libc::SIGUSR1);
            }
            Process::me()
        })
        .returned();
    let facts = process.facts();
    assert_eq!(observe::text(&facts.blocked), "[SIGUSR1, SIGRTMIN+1]");
    assert_eq!(facts.ignored, [Signal(libc::SIGHUP), Signal(libc::SIGPIPE)]);
    assert_eq!(facts.caught, [Signal(libc::SIGTERM)]);
    assert_eq!(process.signals.pending, []);
    assert!(
        process.catches(libc::SIGTERM)
            && process.blocks(libc::SIGUSR1)
            && process.ignores(libc::SIGHUP)
    );
    assert_eq!(
        process.threads[0].pending,
        [Signal(libc::SIGUSR1)],
        "raise(3) sends to the thread"
    );
}

#[test]
fn threads_are_listed_with_their_masks() {
    let process = Child::new()
        .run(|| {
            let barrier = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                std::thread::Builder::new()
                    .name("worker".to_owned())
                    .spawn_scoped(scope, || {
                        // SAFETY: the set lives across the calls.
                        unsafe {
                            let mut set: libc::sigset_t = std::mem::zeroed();
                            libc::sigaddset(&raw mut set, libc::SIGTERM);
                            libc::pthread_sigmask(
                                libc::SIG_BLOCK,
                                &raw const set,
                                std::ptr::null_mut(),
                            );
                        }
                        barrier.wait();
                        barrier.wait();
                    })
                    .unwrap();
                barrier.wait();
                let process = Process::me();
                barrier.wait();
                process
            })
        })
        .returned();
    assert_eq!(process.threads.len(), 2);
    assert_eq!(process.threads[0].tid, process.pid);
    assert_eq!(process.threads[0].blocked, []);
    assert_eq!(
        (
            process.threads[1].name.as_str(),
            &*process.threads[1].blocked
        ),
        ("worker", &[Signal(libc::SIGTERM)][..])
    );
}

#[test]
fn a_child_falls_asleep_when_all_its_threads_do() {
    let patience = Duration::from_secs(10);
    let sleeper = Child::new().start(|| std::thread::sleep(Duration::from_secs(60)));
    assert!(sleeper.falls_asleep(patience));
    let busy = Child::new().start(|| {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
        std::thread::sleep(Duration::from_secs(60));
    });
    assert!(busy.until(patience, |busy| busy.process().unwrap().threads.len() == 2));
    assert!(!busy.falls_asleep(Duration::from_millis(300)));
    let gone = Child::new().start(|| ());
    assert!(!gone.falls_asleep(patience));
}

#[test]
fn descriptors_tell_target_mode_and_flags() {
    let scratch = Scratch::new();
    let facts = Child::new()
        .run(|| {
            let file = File::options()
                .append(true)
                .create(true)
                .open(scratch.join("log"))
                .unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            // SAFETY: fcntl with integers on an open descriptor.
            unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
            // SAFETY: integers only; the descriptor goes with this process.
            unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
            let words = Process::me().descriptors.facts();
            drop((file, reader, writer, one, other));
            words.into_values().collect::<Vec<_>>()
        })
        .returned();
    assert_eq!(
        facts[3..],
        [
            "$TMPDIR/log, write, append, close-on-exec",
            "a pipe, read, non-blocking, close-on-exec",
            "a pipe, write, close-on-exec",
            "a socket, read and write, close-on-exec",
            "a socket, read and write, close-on-exec",
            "an eventfd, read and write, close-on-exec",
        ]
    );
}

#[test]
fn reading_ones_own_facts_adds_no_descriptor() {
    let run = Child::new().run(|| {
        let before = Process::me().descriptors.numbers();
        (before, Process::me().descriptors.numbers())
    });
    assert_eq!(run.returned(), (vec![0, 1, 2], vec![0, 1, 2]));
}

#[test]
fn kept_descriptors_are_the_only_others() {
    let scratch = Scratch::new();
    let files: Vec<File> = ["a", "b", "c"]
        .map(|name| File::create(scratch.join(name)).unwrap())
        .into();
    let run = Child::new()
        .keep(&files[2])
        .keep(&files[0])
        .run(|| Process::me().descriptors.above_stderr());
    let mut kept = [files[0].as_raw_fd(), files[2].as_raw_fd()];
    kept.sort_unstable();
    assert_eq!(run.returned(), kept);
}

#[test]
fn mappings_are_told_by_what_they_map() {
    let scratch = Scratch::new();
    let path = scratch.write("data", [0; 5000]);
    let words = Child::new()
        .run(|| {
            let file = File::open(&path).unwrap();
            // SAFETY: a fresh mapping of an open file; never read.
            let address = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    5000,
                    libc::PROT_READ,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            };
            let mappings = Mapping::of(std::process::id() as i32).unwrap();
            let mapping = mappings.iter().find(|it| it.holds(address as u64)).unwrap();
            (mapping.words(), mapping.shared(), mapping.size() >= 5000)
        })
        .returned();
    assert!(
        words.0.starts_with("r--s ") && words.0.ends_with(" of $TMPDIR/data"),
        "{}",
        words.0
    );
    assert!(words.1 && words.2);
}

#[test]
fn limits_namespaces_and_capabilities_are_read() {
    let process = Child::new().run(Process::me).returned();
    let files = 16 << 20;
    assert_eq!(process.limits["Max file size"], (Some(files), Some(files)));
    assert_eq!(process.limits["Max core file size"], (Some(0), Some(0)));
    assert!(process.namespaces["mnt"].starts_with("mnt:["));
    assert_eq!(process.capabilities.len(), 5);
    // SAFETY: geteuid takes nothing.
    assert_eq!(process.uids[1], unsafe { libc::geteuid() });
}

#[test]
fn descendants_are_found_across_sessions() {
    let child = Child::new().start(|| {
        // SAFETY: forks in a process of one thread; all sleep until they are killed.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                libc::fork();
            }
            loop {
                libc::pause();
            }
        }
    });
    let child = child.does("fork twice", |child| child.others().len() == 2);
    assert_eq!(descendants(child.pid()).len(), 2);
    drop::<observe::Started<()>>(child);
}

#[test]
fn zombies_are_told_from_the_living() {
    let child = Child::new().start(|| {
        // SAFETY: forks in a process of one thread; one ends, and two sleep until they are killed.
        unsafe {
            if libc::fork() == 0 {
                libc::_exit(0);
            }
            libc::fork();
            loop {
                libc::pause();
            }
        }
    });
    let child = child.does("leave a zombie", |child| {
        zombies(child.pid()).len() == 1 && child.others().len() == 1
    });
    assert_eq!(descendants(child.pid()).len(), 2);
    drop::<observe::Started<()>>(child);
}

#[test]
fn a_process_that_is_gone_is_esrch() {
    let child = Child::new().start(|| ());
    let pid = child.pid();
    child.wait().returned();
    assert_eq!(
        Process::of(pid).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
}

#[test]
fn scratch_is_private_named_tmpdir_and_removed() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(
        observe::redact(&format!("{}/x and {0}2", path.display())),
        format!(
            "$TMPDIR/x and $TMPDIR/{}2",
            path.file_name().unwrap().display()
        )
    );
    Child::new().run(move || drop(scratch)).returned();
    assert!(!path.exists(), "the test's copy was dropped after the fork");
}
