//! Processes and threads come under trace, change and end.

mod common;

use std::collections::HashSet;
use std::ffi::CStr;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use common::{
    births, demand, end_of, exit, fork, mark, needs_ptrace, of, pipe, read, sh, until_asleep, wait,
    write,
};
use tracer::{Arg, Event, Status, Tracer, trace};

#[test]
fn a_shell_pipeline_is_followed_into_every_process() {
    needs_ptrace!();
    let trace = Tracer::new()
        .command(sh("echo one | cat | wc -c; exit 3").stdout(Stdio::null()))
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(3)));
    let programs: Vec<&str> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Exec { path, .. } => path.as_deref()?.rsplit('/').next(),
            _ => None,
        })
        .collect();
    assert!(
        ["sh", "cat", "wc"]
            .iter()
            .all(|program| programs.contains(program)),
        "{programs:?}"
    );
    let ends = trace
        .events
        .iter()
        .filter(|event| matches!(event, Event::Exit { .. }))
        .count();
    assert_eq!(ends, 1 + births(&trace).len());
}

#[test]
fn nothing_before_the_program_is_recorded() {
    needs_ptrace!();
    let trace = Tracer::new().command(&mut Command::new("true")).unwrap();
    let first = trace.calls().next().unwrap();
    assert_eq!((first.name, first.result), ("execve", Some(Ok(0))));
    assert!(first.path().unwrap().ends_with("/true"), "{first}");
}

#[test]
fn a_program_that_does_not_exist_is_not_found() {
    needs_ptrace!();
    let error = Tracer::new()
        .command(&mut Command::new("/nonexistent/program"))
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let error = Tracer::new()
        .command(Command::new("true").current_dir("/nonexistent"))
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn one_command_can_be_traced_twice_and_then_run_untraced() {
    needs_ptrace!();
    let mut command = sh("exit 4");
    for _ in 0..2 {
        assert_eq!(
            Tracer::new().command(&mut command).unwrap().status,
            Some(Status::Exited(4))
        );
    }
    assert_eq!(command.status().unwrap().code(), Some(4));
}

#[test]
fn other_children_of_the_caller_keep_their_exit_status() {
    needs_ptrace!();
    let mut other = sh("exit 5").spawn().unwrap();
    Tracer::new().command(&mut sh("true & wait")).unwrap();
    assert_eq!(other.wait().unwrap().code(), Some(5));
}

#[test]
fn threads_are_followed_and_belong_to_their_process() {
    needs_ptrace!();
    let trace = trace(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(mark);
            }
        });
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    assert_eq!(of(&trace, "thread").len(), 4);
    assert!(births(&trace).iter().all(|(_, thread)| *thread));
    let marks = of(&trace, "getppid");
    let tids: HashSet<i32> = marks.iter().map(|call| call.tid).collect();
    assert_eq!(tids.len(), 4);
    assert!(
        marks
            .iter()
            .all(|call| call.pid == trace.pid && call.tid != trace.pid)
    );
}

#[test]
fn a_vforked_child_that_execs_is_followed() {
    needs_ptrace!();
    // Command without pre_exec goes by posix_spawn(3): CLONE_VM | CLONE_VFORK, then execve in the parent's memory.
    let trace = trace(|| {
        let status = Command::new("/bin/sh").args(["-c", "exit 6"]).status();
        demand(status.unwrap().code() == Some(6));
    });
    let trace = trace.unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [(child, false)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    assert_eq!(of(&trace, "fork").len(), 1);
    assert_eq!(end_of(&trace, child), Some(Status::Exited(6)));
    let exec = trace.calls().find(|call| call.name == "execve").unwrap();
    assert_eq!(
        (exec.pid, exec.path(), exec.result),
        (child, Some("/bin/sh"), Some(Ok(0)))
    );
}

/// `execve(2)` of a shell that ends with this status.
fn become_sh(script: &CStr) -> ! {
    let words = [
        c"sh".as_ptr(),
        c"-c".as_ptr(),
        script.as_ptr(),
        std::ptr::null(),
    ];
    // SAFETY: the arrays end with a null pointer and live until the call returns, which it does only on failure.
    unsafe {
        libc::execve(
            c"/bin/sh".as_ptr(),
            words.as_ptr(),
            [std::ptr::null()].as_ptr(),
        )
    };
    exit(98)
}

#[test]
fn a_thread_that_execs_takes_the_place_of_its_process() {
    needs_ptrace!();
    for _ in 0..20 {
        let trace = trace(|| {
            let others = pipe();
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| read(others[0], &mut [0]));
                }
                scope.spawn(|| become_sh(c"exit 7"));
            });
        })
        .unwrap();
        assert_eq!(trace.status, Some(Status::Exited(7)));
        let (pid, former) = trace
            .events
            .iter()
            .find_map(|event| match event {
                Event::Exec { pid, former, .. } => Some((*pid, *former)),
                _ => None,
            })
            .unwrap();
        assert_eq!(pid, trace.pid);
        assert!(births(&trace).contains(&(former, true)));
        let exec = of(&trace, "exec")[0];
        assert_eq!((exec.tid, exec.result), (former, Some(Ok(0))));
        let last = of(&trace, "exit").last().map(|call| (call.pid, call.tid));
        assert_eq!(last, Some((pid, pid)));
    }
}

#[test]
fn a_leader_that_ends_before_its_threads_is_reported_after_them() {
    needs_ptrace!();
    let trace = trace(|| {
        let ends = pipe();
        thread::spawn(move || {
            demand(read(ends[0], &mut [0]) == Ok(1));
            exit(8)
        });
        demand(write(ends[1], b"x") == Ok(1));
        // SAFETY: ends this thread alone; nobody uses its stack after it.
        unsafe { libc::syscall(libc::SYS_exit, 1) };
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(8)));
    assert!(matches!(trace.events.last(), Some(Event::Exit { tid, .. }) if *tid == trace.pid));
}

#[test]
fn the_last_call_of_a_killed_process_has_no_result() {
    needs_ptrace!();
    let trace = trace(|| {
        // SAFETY: waits for a signal, touches nothing.
        let child = fork(|| unsafe { libc::pause() });
        until_asleep(child);
        // SAFETY: a signal to our own child, which isn't reaped yet.
        demand(unsafe { libc::kill(child, libc::SIGKILL) } == 0);
        demand(libc::WTERMSIG(wait(child, 0)) == libc::SIGKILL);
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let [(child, false)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    let last = trace
        .calls()
        .filter(|call| call.pid == child)
        .last()
        .unwrap();
    assert_eq!(last.result, None, "{last}");
    assert_eq!(
        end_of(&trace, child),
        Some(Status::Killed {
            signal: libc::SIGKILL,
            core: false
        })
    );
}

#[test]
fn orphans_are_traced_to_their_end() {
    needs_ptrace!();
    let trace = trace(|| {
        let ends = pipe();
        wait(
            fork(|| {
                fork(|| {
                    // Until nobody else holds the other end: its parent and grandparent are gone.
                    // SAFETY: a descriptor of ours.
                    unsafe { libc::close(ends[1]) };
                    demand(read(ends[0], &mut [0]) == Ok(0));
                    9
                });
                0
            }),
            0,
        );
    })
    .unwrap();
    let [(child, _), (orphan, _)] = births(&trace)[..] else {
        panic!("{:?}", births(&trace))
    };
    assert_eq!(end_of(&trace, child), Some(Status::Exited(0)));
    assert_eq!(end_of(&trace, orphan), Some(Status::Exited(9)));
}

#[test]
fn a_thousand_children_are_all_seen_from_birth_to_end() {
    needs_ptrace!();
    let trace = trace(|| {
        for _ in 0..20 {
            let children: Vec<i32> = (0..50).map(|number| fork(|| number)).collect();
            for (number, child) in children.into_iter().enumerate() {
                demand(libc::WEXITSTATUS(wait(child, 0)) == number as i32);
            }
        }
    })
    .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(0)));
    let births = births(&trace);
    assert_eq!(births.len(), 1000);
    for (place, (child, _)) in births.iter().enumerate() {
        // A pid may come again; the n-th birth of it goes with its n-th end.
        let before = births[..place]
            .iter()
            .filter(|(earlier, _)| earlier == child)
            .count();
        let ends = trace.events.iter().filter_map(|event| match event {
            Event::Exit { tid, status, .. } if tid == child => Some(*status),
            _ => None,
        });
        assert_eq!(
            ends.collect::<Vec<_>>()[before],
            Status::Exited(place as i32 % 50)
        );
    }
}

#[test]
fn a_parent_killed_while_it_forks_leaves_nobody_held() {
    needs_ptrace!();
    for round in 0..30 {
        let trace = trace(|| {
            let parent = fork(|| {
                loop {
                    wait(fork(|| 0), 0);
                }
            });
            for _ in 0..round * 10 {
                mark();
            }
            // SAFETY: a signal to our own child, which isn't reaped yet.
            demand(unsafe { libc::kill(parent, libc::SIGKILL) } == 0);
            wait(parent, 0);
        })
        .unwrap();
        assert_eq!(trace.status, Some(Status::Exited(0)));
    }
}

#[test]
fn a_process_killed_while_it_makes_threads_leaves_nobody_held() {
    needs_ptrace!();
    for round in 0..30 {
        let trace = trace(|| {
            let parent = fork(|| {
                loop {
                    drop(thread::spawn(mark));
                }
            });
            for _ in 0..round * 10 {
                mark();
            }
            // SAFETY: a signal to our own child, which isn't reaped yet.
            demand(unsafe { libc::kill(parent, libc::SIGKILL) } == 0);
            wait(parent, 0);
        })
        .unwrap();
        assert_eq!(trace.status, Some(Status::Exited(0)));
    }
}

#[test]
fn busy_threads_do_not_hold_up_one_that_execs() {
    needs_ptrace!();
    for _ in 0..20 {
        let trace = trace(|| {
            for _ in 0..3 {
                thread::spawn(|| {
                    loop {
                        mark();
                    }
                });
            }
            thread::spawn(|| become_sh(c"exit 7"));
            // The leader is busy too: its last stop may be reported when it is another thread's tid already.
            loop {
                mark();
            }
        })
        .unwrap();
        assert_eq!(trace.status, Some(Status::Exited(7)));
        let last = of(&trace, "exit")
            .last()
            .map(|call| (call.tid, call.result));
        assert_eq!(last, Some((trace.pid, None)));
    }
}

#[test]
fn children_stay_untraced_if_they_are_not_to_be_followed() {
    needs_ptrace!();
    let trace = Tracer::new()
        .follow(false)
        .command(&mut sh("(exit 1); (exit 2); exit 3"))
        .unwrap();
    assert_eq!(trace.status, Some(Status::Exited(3)));
    assert_eq!(births(&trace), []);
    assert!(trace.events.iter().all(|event| event.pid() == trace.pid));
}

#[expect(clippy::zombie_processes, reason = "the tracer reaps it")]
#[test]
fn an_attached_process_is_seen_from_then_on() {
    needs_ptrace!();
    let mut child = sh("read word; echo $word; exit 10")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let session = Tracer::new().seize(child.id() as i32).unwrap();
    assert_eq!(session.pid(), child.id() as i32);
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let trace = session.run().unwrap();
    assert_eq!(trace.status, Some(Status::Exited(10)));
    let hello = Arg::Bytes {
        start: b"hello\n".to_vec(),
        length: 6,
    };
    assert!(
        trace
            .calls()
            .any(|call| call.name == "write" && call.decoded.contains(&hello))
    );
}

#[test]
fn an_attached_process_brings_all_its_threads() {
    needs_ptrace!();
    let (ready, go) = (pipe(), pipe());
    let child = fork(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    demand(write(ready[1], b"x") == Ok(1));
                    demand(read(go[0], &mut [0]) == Ok(1));
                    mark();
                });
            }
        });
        11
    });
    for _ in 0..4 {
        read(ready[0], &mut [0]).unwrap();
    }
    let session = Tracer::new().seize(child).unwrap();
    write(go[1], b"1234").unwrap();
    let trace = session.run().unwrap();
    assert_eq!(trace.status, Some(Status::Exited(11)));
    let tids: HashSet<i32> = of(&trace, "getppid").iter().map(|call| call.tid).collect();
    assert_eq!(tids.len(), 4);
    assert!(trace.calls().all(|call| call.pid == child));
}

#[test]
fn a_process_that_is_gone_cannot_be_seized() {
    needs_ptrace!();
    let child = fork(|| 0);
    wait(child, 0);
    assert_eq!(
        Tracer::new().seize(child).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
}

#[test]
fn a_process_that_is_traced_already_cannot_be_seized() {
    needs_ptrace!();
    let child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let session = Tracer::new().seize(child.id() as i32).unwrap();
    assert_eq!(
        Tracer::new()
            .seize(child.id() as i32)
            .unwrap_err()
            .raw_os_error(),
        Some(libc::EPERM)
    );
    drop(child);
    assert_eq!(session.run().unwrap().status, Some(Status::Exited(0)));
}

#[test]
fn tracees_die_with_their_tracer() {
    needs_ptrace!();
    let (held, started) = (pipe(), pipe());
    let tracing = fork(|| {
        let _ = trace(|| {
            let _ = write(started[1], b"x");
            // SAFETY: waits for a signal, touches nothing.
            unsafe { libc::pause() };
        });
        0
    });
    // SAFETY: descriptors of ours.
    unsafe { libc::close(held[1]) };
    read(started[0], &mut [0]).unwrap();
    // SAFETY: a signal to our own child, which isn't reaped yet.
    assert_eq!(unsafe { libc::kill(tracing, libc::SIGKILL) }, 0);
    wait(tracing, 0);
    // The tracee has the other end: this returns when it is dead.
    assert_eq!(read(held[0], &mut [0]), Ok(0));
}

/// From now on `ptrace(2)` fails with EPERM in this process, as in a container.
fn forbid_ptrace() -> bool {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_ptrace as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose statements are on our stack.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    }
}

#[test]
fn where_ptrace_is_forbidden_the_errno_comes_back_and_nobody_is_left() {
    let tracing = fork(|| {
        if !forbid_ptrace() {
            return 77;
        }
        let forbidden = |error: Option<std::io::Error>| {
            demand(error.and_then(|error| error.raw_os_error()) == Some(libc::EPERM));
        };
        forbidden(tracer::available().err());
        forbidden(trace(|| {}).err());
        forbidden(Tracer::new().command(&mut sh("exit 1")).err());
        // SAFETY: waits for a signal, touches nothing.
        let child = fork(|| unsafe { libc::pause() });
        forbidden(Tracer::new().seize(child).err());
        // SAFETY: a signal to our own child, which isn't reaped yet.
        demand(unsafe { libc::kill(child, libc::SIGKILL) } == 0);
        wait(child, 0);
        // SAFETY: the status isn't asked for.
        demand(unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } == -1);
        0
    });
    match libc::WEXITSTATUS(wait(tracing, 0)) {
        77 => eprintln!("skipped: this kernel has no seccomp filters"),
        status => assert_eq!(status, 0),
    }
}
