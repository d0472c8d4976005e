//! A tracer that waits for its tracee itself, and records part of what it does.

mod common;

use common::needs_ptrace;
use tracer::recording::{OPTIONS, Recording};
use tracer::{Event, Status, Tracer, region};

/// Forks a child that stops itself, then runs `body`; seizes it.
fn seized(body: impl FnOnce()) -> i32 {
    // Before the fork, so that both sides know the markers.
    region::cookie();
    // SAFETY: the child makes system calls, runs the body, and leaves by _exit(2).
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::raise(libc::SIGSTOP);
            body();
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, libc::WUNTRACED);
        assert!(libc::WIFSTOPPED(status));
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, OPTIONS), 0);
        pid
    }
}

/// Hands everything to the recording until the process is gone.
fn run(recording: &mut Recording, pid: i32) {
    // SAFETY: the kernel writes one int; the pid is our child's.
    unsafe {
        libc::kill(pid, libc::SIGCONT);
        loop {
            let mut status = 0;
            // The children of this thread alone: tests run beside each other.
            let tid = libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD);
            if tid == -1 {
                return;
            }
            recording.report(tid, status).unwrap();
        }
    }
}

#[test]
fn what_is_reported_in_a_region_is_recorded() {
    needs_ptrace!();
    let pid = seized(|| {
        // SAFETY: system calls on numbers.
        unsafe {
            libc::getppid();
            region::begin();
            libc::close(-1);
            region::end();
            libc::getppid();
        }
    });
    let mut recording = Recording::begin(Tracer::new(), pid, [pid]);
    assert_eq!(recording.tracees(), [pid]);
    run(&mut recording, pid);
    assert!(recording.tracees().is_empty());
    let trace = recording.end();
    let names: Vec<&str> = trace.calls().map(|call| call.name).collect();
    assert_eq!(names, ["close"]);
    assert_eq!(trace.calls().next().unwrap().result, Some(Err(libc::EBADF)));
    assert_eq!(trace.status, Some(Status::Exited(0)));
}

#[test]
fn children_come_along() {
    needs_ptrace!();
    let pid = seized(|| {
        region::begin();
        // SAFETY: the child only ends; the parent waits for it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(7);
            }
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        region::end();
    });
    let mut recording = Recording::begin(Tracer::new(), pid, [pid]);
    run(&mut recording, pid);
    let trace = recording.end();
    let ended = trace.events.iter().filter(|event| {
        matches!(event, Event::Exit { status: Status::Exited(7), pid: ended, .. } if *ended != pid)
    });
    assert_eq!(ended.count(), 1);
}
