//! Whatever the exercise does to its process, the test goes on and can say what happened.

use observe::{Child, End, Scratch, Signal};
use std::time::{Duration, Instant};

/// Long enough for a busy machine, short enough to wait for in a test.
const SHORT: Duration = Duration::from_millis(300);

/// The message of the panic that `f` ends with.
fn failure(f: impl FnOnce()) -> String {
    let payload =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).expect_err("the test fails");
    payload
        .downcast_ref::<String>()
        .expect("with a sentence")
        .clone()
}

fn alive(pid: i32) -> bool {
    // SAFETY: kill with signal 0 only asks.
    unsafe { libc::kill(pid, 0) == 0 }
}

#[test]
fn a_value_crosses() {
    let run = Child::new().run(|| (1, "two".to_owned(), vec![3u8], Some(4.5)));
    assert_eq!(run.returned(), (1, "two".to_owned(), vec![3], Some(4.5)));
}

#[test]
fn a_value_larger_than_any_pipe_crosses() {
    let run = Child::new().run(|| "x".repeat(3 << 20));
    assert_eq!(run.returned().len(), 3 << 20);
}

#[test]
fn a_closure_may_borrow_from_the_test() {
    let text = "borrowed".to_owned();
    assert_eq!(Child::new().run(|| text.len()).returned(), 8);
}

#[test]
#[allow(clippy::large_stack_arrays, reason = "the stack is what it is about")]
fn threads_of_the_exercise_leave_what_was_borrowed_alone() {
    // On this thread's stack, which glibc would hand to a thread of the child: as large as theirs.
    let borrowed = [7u8; 64 << 10];
    let run = Child::new().run(|| {
        for _ in 0..4 {
            let dirt = || {
                std::hint::black_box([1u8; 512 << 10])
                    .iter()
                    .map(|byte| u64::from(*byte))
                    .sum::<u64>()
            };
            std::thread::spawn(dirt).join().unwrap();
        }
        borrowed.iter().all(|byte| *byte == 7)
    });
    assert!(run.returned());
}

#[test]
fn both_streams_are_captured_even_without_a_newline() {
    let run = Child::new().run(|| {
        print!("out");
        eprint!("err");
    });
    assert_eq!(
        (run.stdout_text().as_str(), run.stderr_text().as_str()),
        ("out", "err")
    );
}

#[test]
fn stdin_is_what_was_given() {
    let read = || std::io::read_to_string(std::io::stdin()).map_err(|_| ());
    assert_eq!(
        Child::new().stdin("some\ntext").run(read).returned(),
        Ok("some\ntext".to_owned())
    );
    assert_eq!(Child::new().run(read).returned(), Ok(String::new()));
}

#[test]
fn a_panic_is_told_with_its_place() {
    let run = Child::new().run(|| -> () { panic!("no {}", "good") });
    let End::Panicked(panic) = &run.end else {
        panic!("{:?}", run.end)
    };
    assert_eq!(
        (panic.message.as_str(), panic.file.as_str()),
        ("no good", "observe/tests/hostile.rs")
    );
    assert!(
        failure(|| run.returned()).contains("the exercise panicked at observe/tests/hostile.rs:")
    );
}

#[test]
fn a_todo_is_told_as_todo() {
    let run = Child::new().run(|| -> i32 { todo!("call fork first") });
    assert_eq!(
        failure(|| _ = run.returned()),
        "the exercise stopped at todo!(\"call fork first\")"
    );
}

#[test]
fn a_todo_in_a_thread_is_told_as_todo() {
    let run = Child::new().run(|| {
        std::thread::spawn(|| -> i32 { todo!("a thread") })
            .join()
            .unwrap()
    });
    assert_eq!(
        failure(|| _ = run.returned()),
        "the exercise stopped at todo!(\"a thread\")"
    );
}

#[test]
fn an_exit_is_no_return() {
    let run = Child::new().run(|| -> i32 { std::process::exit(0) });
    assert_eq!(run.end, End::Exited(0));
    let sentence = failure(|| _ = run.returned());
    assert_eq!(
        sentence,
        "the exercise exited with status 0 instead of returning"
    );
}

#[test]
fn an_abort_is_sigabrt() {
    let run = Child::new().run(|| -> i32 { std::process::abort() });
    assert_eq!(run.end, End::Killed(Signal(libc::SIGABRT)));
}

#[test]
fn a_wild_write_is_told_with_its_address() {
    // SAFETY: none; the child is to die of it.
    let run = Child::new()
        .run(|| unsafe { std::ptr::with_exposed_provenance_mut::<u8>(0x18).write_volatile(1) });
    assert_eq!(
        failure(|| run.returned()),
        "the exercise was killed by SIGSEGV at address 0x18"
    );
}

#[test]
fn a_stack_overflow_is_sigsegv() {
    #[allow(unconditional_recursion, reason = "it is to overflow")]
    fn deeper(depth: u64) -> u64 {
        std::hint::black_box([depth; 64])[1] + deeper(depth + 1)
    }
    let run = Child::new().run(|| deeper(0));
    assert_eq!(run.end, End::Killed(Signal(libc::SIGSEGV)));
}

#[test]
fn a_sent_sigsegv_has_no_address() {
    // SAFETY: raise takes an integer.
    let run = Child::new().run(|| unsafe { libc::raise(libc::SIGSEGV) });
    assert_eq!(
        failure(|| _ = run.returned()),
        "the exercise was killed by SIGSEGV"
    );
}

#[test]
fn an_endless_loop_ends_at_the_limit_with_all_it_started() {
    let run = Child::new().limit(SHORT).run(|| {
        // SAFETY: a fork in a process of one thread.
        let sleeper = unsafe { libc::fork() };
        println!(
            "{}",
            if sleeper == 0 {
                std::process::id() as i32
            } else {
                sleeper
            }
        );
        loop {
            std::hint::spin_loop();
        }
    });
    assert_eq!(run.end, End::<()>::TimedOut(SHORT));
    let text = run.stdout_text();
    assert!(!text.is_empty());
    for pid in text.lines() {
        assert!(!alive(pid.parse().unwrap()), "{pid} is still alive");
    }
    assert_eq!(
        failure(|| run.returned()),
        "the exercise was still running after 0.3 s"
    );
}

#[test]
fn a_stopped_child_is_told_as_stopped() {
    // SAFETY: raise takes an integer.
    let run = Child::new()
        .limit(SHORT)
        .run(|| unsafe { libc::raise(libc::SIGSTOP) });
    let sentence = "the exercise was stopped by SIGSTOP and had not ended after 0.3 s";
    assert_eq!(failure(|| _ = run.returned()), sentence);
}

#[test]
fn a_stopped_and_continued_child_returns() {
    // SAFETY: raise takes an integer.
    let child = Child::new().start(|| unsafe { libc::raise(libc::SIGSTOP) });
    assert!(child.until(Duration::from_secs(10), |child| {
        child.process().is_ok_and(|it| it.stopped())
    }));
    child.signal(libc::SIGCONT).unwrap();
    assert_eq!(child.wait().returned(), 0);
}

#[test]
fn closing_every_descriptor_costs_neither_value_nor_time() {
    let started = Instant::now();
    let run = Child::new().run(|| {
        for fd in 0..4096 {
            // SAFETY: the child is to close what is not its own.
            unsafe { libc::close(fd) };
        }
        7
    });
    assert_eq!(run.returned(), 7);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_sleeper_that_holds_stdout_is_not_waited_for_but_told_and_killed() {
    let run = Child::new().run(|| {
        // SAFETY: a fork in a process of one thread; the child sleeps until it is killed.
        unsafe {
            match libc::fork() {
                0 => loop {
                    libc::pause();
                },
                pid => pid,
            }
        }
    });
    let left: Vec<(i32, bool)> = run
        .left
        .iter()
        .map(|left| (left.pid, left.zombie))
        .collect();
    let (pid, _) = run.returned_and_left();
    assert_eq!(left, [(pid, false)]);
    assert!(!alive(pid));
}

#[test]
fn returning_with_a_sleeper_left_is_a_failure() {
    let run = Child::new().run(|| {
        // SAFETY: a fork in a process of one thread; the child sleeps until it is killed.
        unsafe {
            if libc::fork() == 0 {
                loop {
                    libc::pause();
                }
            }
        }
    });
    let sentence = failure(|| run.returned());
    assert_eq!(
        sentence,
        "the exercise returned and left behind: a fork of it that still runs"
    );
}

#[test]
fn an_orphan_that_ends_by_itself_was_not_left() {
    let run = Child::new().run(|| {
        // SAFETY: forks in a process of one thread; the grandchild outlives its parent, and the child, by a little.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                if libc::fork() == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
                libc::_exit(0);
            }
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    });
    assert!(run.left.is_empty(), "{:?}", run.left);
}

#[test]
fn a_descriptor_that_was_not_kept_is_told_by_std_itself() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let run = Child::new().run(move || drop(writer));
    let sentence = failure(|| run.returned());
    assert!(
        sentence.starts_with("the exercise was killed by SIGABRT: fatal runtime error: IO Safety"),
        "{sentence}"
    );
}

#[test]
fn a_grandchild_in_a_session_of_its_own_is_found_and_killed() {
    let scratch = Scratch::new();
    let file = scratch.join("pid");
    let run = Child::new().run(|| {
        // SAFETY: forks in a process of one thread; the grandchild sleeps until it is killed.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::setsid();
                if libc::fork() == 0 {
                    std::fs::write(&file, std::process::id().to_string()).unwrap();
                    loop {
                        libc::pause();
                    }
                }
                while !file.exists() {}
                libc::_exit(0);
            }
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    });
    assert_eq!(run.end, End::Returned(()));
    assert_eq!(run.left.len(), 1);
    assert_eq!(
        run.left[0].process.facts().parent,
        "init or the nearest subreaper"
    );
    assert!(!alive(run.left[0].pid));
}

#[test]
fn a_child_that_was_not_waited_for_is_a_zombie_left() {
    let run = Child::new().run(|| {
        // SAFETY: a fork in a process of one thread; waitid with WNOWAIT leaves the zombie.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(0);
            }
            let mut info = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                pid as libc::id_t,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            );
        }
    });
    assert_eq!(
        run.left.iter().map(|left| left.zombie).collect::<Vec<_>>(),
        [true]
    );
}

#[test]
fn a_fork_that_falls_out_of_the_exercise_is_told() {
    let run = Child::new().to_the_last().run(|| {
        // SAFETY: a fork in a process of one thread.
        unsafe { libc::fork() == 0 }
    });
    assert_eq!(run.end, End::Returned(false));
    assert_eq!(
        run.elsewhere.iter().map(|it| it.value).collect::<Vec<_>>(),
        [true]
    );
}

#[test]
fn overflowing_output_is_sigxfsz_and_told() {
    let run = Child::new().run(|| {
        let chunk = vec![b'x'; 1 << 16];
        // SAFETY: the chunk is valid for its length.
        unsafe { while libc::write(1, chunk.as_ptr().cast(), chunk.len()) > 0 {} }
    });
    assert_eq!(run.stdout.len(), 16 << 20);
    let sentence = failure(|| run.returned());
    assert_eq!(
        sentence,
        "the exercise was killed by SIGXFSZ: it wrote more than 16 MiB to one file or stream"
    );
}

#[test]
fn killing_its_group_does_not_reach_the_test() {
    // SAFETY: kill takes two integers.
    let run = Child::new().run(|| unsafe { libc::kill(0, libc::SIGKILL) });
    assert_eq!(run.end, End::Killed(Signal(libc::SIGKILL)));
}

#[test]
fn killing_its_parent_does_not_reach_the_test() {
    let run = Child::new().limit(Duration::from_secs(60)).run(|| {
        loop {
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
            std::thread::sleep(Duration::from_secs(3600));
        }
    });
    let sentence = failure(|| run.returned());
    assert_eq!(sentence, "the exercise killed its parent process");
}

#[test]
fn signalling_its_parent_does_not_reach_the_test() {
    let run = Child::new().run(|| {
        for signal in [
            libc::SIGTERM,
            libc::SIGUSR1,
            libc::SIGCHLD,
            libc::SIGHUP,
            libc::SIGALRM,
        ] {
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(libc::getppid(), signal) };
        }
    });
    assert_eq!(run.end, End::Returned(()));
}

#[test]
fn stopping_its_parent_delays_the_end_only_to_the_limit() {
    // SAFETY: kill takes two integers.
    let run = Child::new()
        .limit(SHORT)
        .run(|| unsafe { libc::kill(libc::getppid(), libc::SIGSTOP) });
    assert_eq!(run.end, End::<i32>::TimedOut(SHORT));
}

#[test]
fn processes_that_fork_faster_than_they_can_be_looked_up_are_ended() {
    let run = Child::new().limit(SHORT).run(|| {
        // SAFETY: forks in a process of one thread. Each but the first is replaced by its child all the time.
        unsafe {
            if libc::fork() == 0 {
                libc::fork();
                loop {
                    if libc::fork() > 0 {
                        libc::_exit(0);
                    }
                }
            }
            libc::pause();
        }
    });
    assert_eq!(run.end, End::<()>::TimedOut(SHORT));
}

#[test]
fn what_a_test_started_itself_is_spared_when_a_keeper_is_killed() {
    let mut own = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let run = Child::new().run(|| {
        // SAFETY: kill takes two integers.
        unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
        loop {
            std::thread::park();
        }
    });
    let run: observe::Run<()> = run;
    assert_eq!(run.sentence(), "killed its parent process");
    assert!(own.try_wait().unwrap().is_none(), "it runs on");
    own.kill().unwrap();
    own.wait().unwrap();
}

#[test]
fn forks_from_many_threads_do_not_disturb_one_another() {
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for round in 0..10 {
                    let run = Child::new().run(|| {
                        println!("{worker}");
                        (worker, round)
                    });
                    assert_eq!(run.stdout_text(), format!("{worker}\n"));
                    assert!(run.left.is_empty());
                    assert_eq!(run.returned(), (worker, round));
                }
            });
        }
    });
}

#[test]
fn a_started_child_is_killed_when_dropped() {
    let child = Child::new().start(|| {
        loop {
            std::thread::park();
        }
    });
    let pid = child.pid();
    drop::<observe::Started<()>>(child);
    assert!(!alive(pid));
}

#[test]
fn a_moved_descriptor_is_closed_in_the_test() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = Child::new().keep(&writer);
    let run = child.run(move || {
        use std::io::Write;
        (&writer).write_all(b"end of file follows").map_err(|_| ())
    });
    assert_eq!(run.returned(), Ok(()));
    assert_eq!(
        std::io::read_to_string(&mut reader).unwrap(),
        "end of file follows"
    );
}
