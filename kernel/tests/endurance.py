"""Does the kernel stand floods, silence, haste and murder, and does it leave anything behind?

Exit status: 0 all passed, 1 some did not (or none ran).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Callable

import zmq
from support import (
    Kernel,
    Plan,
    Run,
    clip,
    closing_line,
    command,
    descendants,
    end,
    exit_when_asked,
    pss,
    read,
    running,
    wait_until,
)

LINES = 100_000
MANY_LINES = 'for i in 0..100_000 { println!("line {i}"); }'
FLOOD = 'let line: String = "x".repeat(99); for _ in 0..1_000_000 { println!("{line}"); }'
# What a page still scrolls through, and what a kernel may hold while it is not read.
SHOWN_LIMIT = 20 << 20
MEMORY_LIMIT_KIB = 100 << 10
LOOP = 'println!("looping"); loop { std::thread::sleep(std::time::Duration::from_millis(5)); }'
ORPHAN = 'let _ = std::process::Command::new("sh").args(["-c", "setsid sleep 600 &"]).status().unwrap();'
SHM = Path("/dev/shm")


class Skip(Exception):
    """Why a test can't run here."""


def must(holds: object, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def must_be_ok(run: Run) -> Run:
    must(run.status == "ok", run.summary())
    return run


def must_answer(kernel: Kernel, within: float = 3) -> None:
    run = kernel.run("40 + 2", within)
    must(run.result == "42", f"the next cell: {run.summary()}")


class Stalled:
    """A client that subscribes to everything and then reads nothing: a frozen browser."""

    def __init__(self, kernel: Kernel):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 1)
        self.socket.setsockopt(zmq.RCVBUF, 4096)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        info = kernel.manager.get_connection_info()
        self.socket.connect(f"{info['transport']}://{info['ip']}:{info['iopub_port']}")
        time.sleep(0.5)

    def close(self) -> None:
        self.socket.close()
        self.context.term()


class Peak:
    """The most memory that a kernel's processes held together, in KiB, watched from a thread."""

    def __init__(self, kernel: Kernel):
        self.kernel, self.over = kernel, threading.Event()
        self.start = self.most = pss(kernel.tree())
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.over.wait(0.1):
            self.most = max(self.most, pss(self.kernel.tree()))

    def growth(self) -> int:
        self.over.set()
        self.thread.join()
        return self.most - self.start


def hundred_thousand_lines(kernel: Kernel) -> str:
    """All of them, in order, in messages that hold many."""
    run = must_be_ok(kernel.run(MANY_LINES, 30))
    seen = run.stream("stdout").splitlines()
    must(seen == [f"line {i}" for i in range(LINES)], f"{len(seen)} lines, the last {seen[-1:]}")
    must(run.messages < LINES / 20, f"{run.messages} messages")
    must_answer(kernel)
    return f"{run.seconds:.1f} s, {run.messages} messages"


def stalled_second_client(kernel: Kernel) -> str:
    """A client that does not read must not hold up the one that does."""
    stalled = Stalled(kernel)
    try:
        for _ in range(3):
            run = must_be_ok(kernel.run(MANY_LINES, 30))
            must(run.stream("stdout").count("\n") == LINES, f"{run.stream('stdout').count(chr(10))} lines")
        must_answer(kernel)
    finally:
        stalled.close()
    must_answer(kernel)
    return f"{run.seconds:.1f} s"


def hundred_megabytes(kernel: Kernel) -> str:
    """Memory stays bounded, the page gets a bounded part, and a line says what was left out."""
    return flood(kernel, FLOOD, "x" * 99 + "\n")


def hundred_megabytes_without_a_newline(kernel: Kernel) -> str:
    """No buffer waits for the end of a line that never comes."""
    return flood(kernel, 'for _ in 0..1_000_000 { print!("{}", "y".repeat(100)); }', "y" * 100)


def flood(kernel: Kernel, code: str, start: str) -> str:
    # Completion is a process of its own, which starts by itself in a while: it shall be there already.
    kernel.request(kernel.client.complete, "std::process::abo", limit=60)
    peak = Peak(kernel)
    run = kernel.run(code, 120)
    growth = peak.growth()
    must_be_ok(run)
    shown = sum(len(c["text"]) for c in run.of("stream"))
    must(run.stream("stdout").startswith(start), f"shown first: {clip(run.stream('stdout'), 40)}")
    must(shown <= SHOWN_LIMIT, f"{shown >> 20} MiB were shown")
    must(re.search("(?i)left out|omitted|not shown|truncated", run.said()), "nothing says what was left out")
    must(growth < MEMORY_LIMIT_KIB, f"memory grew by {growth >> 10} MiB")
    must_answer(kernel)
    return f"{run.seconds:.1f} s, {shown / 1e6:.1f} MB shown, memory +{growth >> 10} MiB"


def fifty_interrupts_at_once(kernel: Kernel) -> str:
    """The cell ends once, and what follows is not interrupted by those that came too many."""
    must_be_ok(kernel.run("let kept: i32 = 42;"))
    run = kernel.run(LOOP, 10, Plan(lambda: [kernel.interrupt() for _ in range(50)], seen="looping"))
    must((run.status, run.ename) == ("error", "Interrupted"), run.summary())
    must(kernel.run("kept", 3).result == "42", "the variable is gone")
    for _ in range(50):
        kernel.interrupt()
    must(kernel.run("kept", 3).result == "42", "interrupts of an idle kernel hit the next cell")
    return ""


def hundred_cells_queued(kernel: Kernel) -> str:
    """Answered in order, each once."""
    runs = [kernel.send(f"{n} * 2") for n in range(100)]
    for run in runs:
        kernel.finish(run, 60)
    must([r.result for r in runs] == [str(n * 2) for n in range(100)], "answers differ")
    counts = [r.reply["execution_count"] for r in runs]
    must(counts == list(range(counts[0], counts[0] + 100)), f"execution counts {counts}")
    return f"{runs[-1].sent + runs[-1].seconds - runs[0].sent:.1f} s"


def memory_does_not_creep(kernel: Kernel) -> str:
    """Three hundred small cells: libraries and checkpoints of cells gone by don't pile up without bound."""
    for n in range(20):
        must_be_ok(kernel.run(f"let creep: i32 = {n};"))
    before, processes = pss(kernel.tree()), len(kernel.tree())
    for n in range(300):
        must_be_ok(kernel.run(f"let creep: i32 = {n};"))
    growth = pss(kernel.tree()) - before
    must(growth < 100 << 10, f"memory grew by {growth >> 10} MiB")
    must(len(kernel.tree()) <= processes + 1, f"{processes} processes became {len(kernel.tree())}")
    return f"memory {growth / 300:+.0f} KiB a cell"


def kernel_info_before_subscription(name: str) -> str:
    """A front end may ask on the shell channel first and subscribe later; it must still see idle then."""
    kernel = Kernel(name, connect=False)
    try:
        early = kernel.manager.client()
        early.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=False)
        early.kernel_info()
        early.shell_channel.get_msg(timeout=60)
        early.stop_channels()
        kernel.connect()
        run = must_be_ok(kernel.run('println!("heard"); 7'))
        must(run.stream("stdout") == "heard\n" and run.result == "7" and run.idle, run.summary())
    finally:
        kernel.shutdown()
    return ""


def first_cell_before_the_kernel_is_up(name: str) -> str:
    """Sent with the launch, answered in order."""
    kernel = Kernel(name, connect=False)
    try:
        client = kernel.manager.client()
        client.start_channels(hb=False, stdin=False, control=False)
        client.execute("let early: i32 = 42;")
        client.execute("early")
        replies = [client.shell_channel.get_msg(timeout=60)["content"]["status"] for _ in range(2)]
        client.stop_channels()
        must(replies == ["ok", "ok"], f"replies {replies}")
    finally:
        kernel.shutdown()
    return ""


def shutdown_leaves_nothing(name: str) -> str:
    """With an orphan that left the session, and a cell that was still running."""
    kernel = Kernel(name)
    try:
        must_be_ok(kernel.run(ORPHAN))
        kernel.send(LOOP)
        kernel.listen(2)
        pids, files = kernel.left(), session_files(kernel)
        must(len(pids) > 1, "the cell's process carries no mark: the test sees nothing")
        kernel.close()
        kernel.manager.shutdown_kernel()
        must(wait_until(lambda: not running({*pids, *kernel.left()}), 3), f"processes left: {named({*pids, *kernel.left()})}")
        must_be_gone(files)
        left = [str(p.relative_to(kernel.scratch)) for p in (kernel.scratch / "tmp").iterdir()]
        must(not left, f"files left in TMPDIR: {left}")
    finally:
        kernel.remove()
    return f"{len(pids)} processes, {len(files)} folders gone"


def shutdown_is_quick(name: str) -> str:
    """The manager kills a kernel that needs more than its patience; it must not come to that, even while a first
    completion is looked for, which takes seconds."""
    kernel = Kernel(name)
    must_be_ok(kernel.run("let a: i32 = 1;"))
    kernel.client.complete("std::fs::re")
    kernel.listen(0.5)
    started = time.monotonic()
    left = kernel.shutdown()
    seconds = time.monotonic() - started
    must(not left, f"processes left: {left}")
    must(seconds < 2, f"{seconds:.1f} s")
    return f"{seconds:.2f} s"


def restart_leaves_nothing(name: str) -> str:
    """The old session's processes and files are gone, the new one knows nothing and works."""
    kernel = Kernel(name)
    try:
        must_be_ok(kernel.run("let old: i32 = 1;" + ORPHAN))
        pids, files = kernel.left(), session_files(kernel)
        kernel.restart()
        must(wait_until(lambda: not running(pids), 3), f"processes left: {named(pids)}")
        must_be_gone(files)
        must(kernel.run("old").status == "error", "the old variable is still there")
        must_answer(kernel, 10)
    finally:
        kernel.shutdown()
    return ""


def ten_restarts(name: str) -> str:
    kernel = Kernel(name)
    try:
        seconds = [kernel.restart() for _ in range(10)]
        must_answer(kernel, 10)
        must(len(session_folders(kernel)) <= 1, f"sessions in use: {session_folders(kernel)}")
    finally:
        kernel.shutdown()
    return f"{min(seconds):.2f} to {max(seconds):.2f} s"


def murdered_kernel_takes_all_along(name: str) -> str:
    """kill -9 of the kernel: host and cell processes end by themselves, and the next start clears the files."""
    kernel, successor = Kernel(name), None
    try:
        must_be_ok(kernel.run(ORPHAN))
        kernel.send(LOOP)
        kernel.listen(2)
        pids, files = kernel.left(), session_files(kernel)
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.close()
        kernel.manager.shutdown_kernel(now=True)
        must(wait_until(lambda: not running(pids), 3), f"processes left: {named(pids)}")
        successor = Kernel(name)
        must_be_ok(successor.run("1"))
        must_be_gone(files)
    finally:
        kernel.remove()
        if successor:
            successor.shutdown()
    return f"{len(pids)} processes"


def start_spares_other_sessions(name: str) -> str:
    """Clearing what the dead left must not touch the living."""
    first, second = Kernel(name), None
    try:
        must_be_ok(first.run("let mine: i32 = 42;"))
        second = Kernel(name)
        must_be_ok(second.run("1"))
        second.shutdown()
        second = None
        must(first.run("mine", 5).result == "42", "the first kernel lost its session")
    finally:
        first.shutdown()
        if second:
            second.shutdown()
    return ""


def murdered_host_is_told(name: str) -> str:
    """kill -9 of what stands between kernel and cell: said, and the kernel works again or ends."""
    kernel = Kernel(name)
    try:
        must_be_ok(kernel.run("let kept: i32 = 42;"))
        below = [pid for pid in descendants(kernel.pid) if pid in kernel.left()]
        if not below:
            raise Skip("no process below the kernel")
        for pid in below:
            end(pid)
        run = kernel.run("kept", 10)
        if not kernel.alive():
            return "the kernel ended"
        must(run.status == "error" and re.search("(?i)lost", run.said()), f"not told: {run.summary()}")
        must_answer(kernel, 10)
    finally:
        kernel.shutdown()
    return ""


def session_folders(kernel: Kernel) -> set[Path]:
    """Folders directly under /dev/shm that the kernel's processes map, hold open, stand in or have in their environment."""
    text = "\n".join(traces(pid) for pid in kernel.left())
    return {SHM / top for top in re.findall(r"/dev/shm/([^/\s\0:]+)", text)}


def traces(pid: int) -> str:
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/exe"]
    try:
        links += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    return "\n".join([read(f"/proc/{pid}/maps"), read(f"/proc/{pid}/environ"), read(f"/proc/{pid}/cmdline"), *map(target, links)])


def target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def session_files(kernel: Kernel) -> list[Path]:
    return sorted(p for p in session_folders(kernel) | set((kernel.scratch / "tmp").iterdir()) if p.exists())


def must_be_gone(files: list[Path]) -> None:
    wait_until(lambda: not any(f.exists() for f in files), 5)
    must(not any(f.exists() for f in files), f"files left: {[str(f) for f in files if f.exists()]}")


def named(pids) -> str:
    return ", ".join(f"{pid} {command(pid)}" for pid in running(pids))


SHARED = [
    hundred_thousand_lines,
    stalled_second_client,
    hundred_megabytes,
    hundred_megabytes_without_a_newline,
    fifty_interrupts_at_once,
    hundred_cells_queued,
    memory_does_not_creep,
]
OWN = [
    kernel_info_before_subscription,
    first_cell_before_the_kernel_is_up,
    shutdown_leaves_nothing,
    shutdown_is_quick,
    restart_leaves_nothing,
    ten_restarts,
    murdered_kernel_takes_all_along,
    start_spares_other_sessions,
    murdered_host_is_told,
]


class Runner:
    def __init__(self, name: str):
        self.name = name
        self.kernel: Kernel | None = None
        self.tally = {"passed": 0, "failed": 0, "skipped": 0}

    def shared(self, test: Callable[[Kernel], str]) -> None:
        """Runs a test on the kernel they share; one that failed may have spoilt it."""
        try:
            self.kernel = self.kernel or Kernel(self.name)
        except TimeoutError as seen:
            self.say("failed", f"FAIL {test.__name__}: no kernel for it: {seen}")
            return
        if not self.note(test, self.kernel):
            self.drop()

    def note(self, test: Callable, argument: object) -> bool:
        try:
            figures = test(argument)
        except Skip as why:
            self.say("skipped", f"skip {test.__name__}: {why}")
        except AssertionError as seen:
            self.say("failed", f"FAIL {test.__name__}: {seen}")
            return False
        except Exception:
            self.say("failed", f"FAIL {test.__name__}: {traceback.format_exc(limit=-2)}")
            return False
        else:
            self.say("passed", f"ok   {test.__name__} {figures}")
        return True

    def say(self, outcome: str, line: str) -> None:
        self.tally[outcome] += 1
        print(line.rstrip(), flush=True)

    def drop(self) -> None:
        if self.kernel:
            self.kernel.kill()
        self.kernel = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="syslab", help="kernelspec to test (default: syslab)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="tests whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="names the tests and ends")
    options = parser.parse_args()

    def asked(test: Callable) -> bool:
        return not options.only or any(name in test.__name__ for name in options.only)

    if options.list:
        print("\n".join(t.__name__ for t in SHARED + OWN if asked(t)))
        return 0
    runner = Runner(options.kernel)
    for test in filter(asked, SHARED):
        runner.shared(test)
    runner.drop()
    for test in filter(asked, OWN):
        runner.note(test, options.kernel)
    print(closing_line(**runner.tally))
    return 0 if runner.tally["passed"] and not runner.tally["failed"] else 1


if __name__ == "__main__":
    exit_when_asked()
    sys.exit(main())
