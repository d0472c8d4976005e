"""What does a front end see? Starts kernels, runs cells and keeps what comes back.

Kernels under test hang, die and flood: no wait here is without a limit, and a message is taken apart by hand,
because verifying and dating 100 000 of them would measure this client instead of the kernel.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import unittest
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, NoReturn, Sequence

import zmq
from jupyter_client.manager import KernelManager

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MARK = "KERNEL_TEST_MARK"
# Kernels not ended yet: a suite that is stopped ends them on its way out.
LIVING: set["Kernel"] = set()
# Between two looks at whether the kernel process still lives.
TICK = 0.25


class KernelEnded(TimeoutError):
    """The kernel process is gone: no use to wait, and not the same as one that hangs."""


@dataclass
class Run:
    """One execute request and everything that was published under it, also after its reply."""

    msg_id: str
    sent: float
    reply: dict | None = None
    seconds: float | None = None
    idle: bool = False
    outputs: list[tuple[str, dict]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    messages: int = 0
    last_output: float = 0.0

    @property
    def status(self) -> str:
        return self.reply.get("status", "?") if self.reply else "no reply"

    @property
    def ename(self) -> str:
        return (self.reply or {}).get("ename", "")

    @property
    def evalue(self) -> str:
        return plain((self.reply or {}).get("evalue", ""))

    @property
    def traceback(self) -> str:
        return plain("\n".join((self.reply or {}).get("traceback", [])))

    @property
    def result(self) -> str | None:
        """The text of the cell's value, if it showed one."""
        for kind, content in self.outputs:
            if kind == "execute_result":
                return content["data"].get("text/plain")
        return None

    def of(self, kind: str) -> list[dict]:
        return [content for k, content in self.outputs if k == kind]

    def stream(self, name: str) -> str:
        return "".join(c["text"] for c in self.of("stream") if c["name"] == name)

    def said(self) -> str:
        """All the words that reached the person at the front end."""
        shown = [text for c in self.outputs for text in words(*c)]
        return plain("\n".join([*shown, self.evalue, self.traceback]))

    def summary(self) -> str:
        """What was seen, in a line."""
        parts = [self.status if self.seconds is None else f"{self.status} after {self.seconds:.1f} s"]
        parts += [f"{self.ename}: {self.evalue}"] if self.ename or self.evalue else []
        parts += [f"value {clip(self.result)}"] if self.result is not None else []
        parts += [f"{n} {clip(self.stream(n))}" for n in ("stdout", "stderr") if self.stream(n)]
        parts += [f"shown error {clip(plain(e.get('evalue', '')))}" for e in self.of("error")[:1] if not self.ename]
        return ", ".join(parts)


def words(kind: str, content: dict) -> list[str]:
    if kind == "stream":
        return [content["text"]]
    if kind == "error":
        return [content.get("ename", ""), content.get("evalue", ""), *content.get("traceback", [])]
    return [v for v in content.get("data", {}).values() if isinstance(v, str)]


def plain(text: str) -> str:
    return ANSI.sub("", text)


def clip(text: str | None, limit: int = 120) -> str:
    text = text or ""
    return repr(text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)")


def unpack(frames: list[bytes]) -> tuple[dict, dict, dict]:
    """Header, parent header and content of a message as it stands on the wire."""
    at = frames.index(b"<IDS|MSG>")
    return json.loads(frames[at + 2]), json.loads(frames[at + 3]), json.loads(frames[at + 5])


class Kernel:
    """A kernel process with a client, in a scratch folder of its own (its TMPDIR, its log, its connection file)."""

    def __init__(self, name: str, limit: float = 60, connect: bool = True, env: dict[str, str] | None = None):
        self.name = name
        self.mark = uuid.uuid4().hex
        self.scratch = Path(tempfile.mkdtemp(prefix="kernel-test-"))
        (self.scratch / "tmp").mkdir()
        self.runs: dict[str, Run] = {}
        self.replies: dict[str, dict] = {}
        self.idles: set[str] = set()
        self.states: list[str] = []
        self.answers: list[str] = []
        self.client = None
        self.manager = KernelManager(kernel_name=name, connection_file=str(self.scratch / "connection.json"))
        self.launched = time.monotonic()
        self._launch(env or {})
        if connect:
            self.connect(limit)

    def _launch(self, extra: dict[str, str]) -> None:
        LIVING.add(self)
        env = dict(os.environ, TMPDIR=str(self.scratch / "tmp"), **{MARK: self.mark}, **extra)
        # Stays open: a restart of the manager passes the same file again.
        self.log_file = open(self.scratch / "kernel.log", "ab")
        self.manager.start_kernel(env=env, stdout=self.log_file, stderr=self.log_file)

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid

    def connect(self, limit: float = 60) -> float:
        """Opens the channels and waits for kernel_info_reply; returns the seconds since the launch."""
        self.client = self.manager.client()
        # A new client counts its message ids from the start again.
        for seen in (self.replies, self.runs, self.idles):
            seen.clear()
        self.client.start_channels(hb=False)
        self.poller = zmq.Poller()
        for channel in (self.client.shell_channel, self.client.iopub_channel, self.client.stdin_channel):
            self.poller.register(channel.socket, zmq.POLLIN)
        self.poller.register(self.client.control_channel.socket, zmq.POLLIN)
        ready = self.kernel_info(limit)
        self._subscribed(limit)
        return ready

    def _subscribed(self, limit: float) -> None:
        """Asks again until an idle arrives: one that was published before the subscription is gone."""
        deadline = time.monotonic() + limit
        while not self.idles:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} publishes nothing")
            self.client.kernel_info()
            self.pump(0.5, lambda: bool(self.idles))

    def kernel_info(self, limit: float = 10) -> float:
        """Waits for kernel_info_reply; returns the seconds since the launch."""
        self.request(self.client.kernel_info, limit=limit)
        return time.monotonic() - self.launched

    def request(self, send: Callable[..., str], *args, limit: float = 10, **kwargs) -> dict:
        """Sends a request on the shell channel and returns the content of its reply."""
        return self.reply_to(send(*args, **kwargs), limit)

    def control(self, kind: str, content: dict | None = None, limit: float = 10) -> dict:
        """Sends a request on the control channel and returns the content of its reply."""
        message = self.client.session.msg(kind, content or {})
        self.client.control_channel.send(message)
        return self.reply_to(message["header"]["msg_id"], limit)

    def reply_to(self, msg_id: str, limit: float) -> dict:
        if not self.pump(limit, lambda: msg_id in self.replies):
            if not self.alive():
                raise KernelEnded(f"{self.name} ended; its last words: {self.log()[-200:]!r}")
            raise TimeoutError(f"{self.name} did not reply within {limit} s")
        return self.replies[msg_id]

    def send(self, code: str, *, answers: Sequence[str] | None = None, **options) -> Run:
        """Sends a cell and does not wait. `answers` are given to its requests for input; None forbids them."""
        self.answers = list(answers or [])
        sent = time.monotonic()
        msg_id = self.client.execute(code, allow_stdin=answers is not None, **options)
        run = self.runs[msg_id] = Run(msg_id, sent)
        return run

    def run(self, code: str, limit: float = 30, plan: Plan | None = None, **options) -> Run:
        """Runs a cell until its reply and its idle are here; without a reply within `limit`, `reply` stays None."""
        run = self.send(code, **options)
        self.finish(run, limit, plan)
        return run

    def finish(self, run: Run, limit: float, plan: Plan | None = None) -> None:
        def done() -> bool:
            if plan:
                plan.step(run)
            return run.reply is not None

        if self.pump(limit, done):
            self.pump(3, lambda: run.idle)

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Takes in what comes late."""
        return self.pump(seconds, until)

    def pump(self, seconds: float, until: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            ready = self.poller.poll(int(min(left, TICK) * 1000) + 1)
            for sock, _ in ready:
                self._take(sock)
            if not ready and not self.alive():
                return until()
        return True

    def _take(self, sock: zmq.Socket, most: int = 200) -> None:
        for _ in range(most):
            try:
                frames = sock.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._sort(*unpack(frames))

    def _sort(self, header: dict, parent: dict, content: dict) -> None:
        kind, of = header["msg_type"], parent.get("msg_id", "")
        run = self.runs.get(of)
        if kind.endswith("_reply"):
            self.replies[of] = content
        if kind == "status":
            self.states.append(content["execution_state"])
            if content["execution_state"] == "idle":
                self.idles.add(of)
        if run is None:
            return
        run.messages += 1
        if kind == "execute_reply":
            run.reply, run.seconds = content, time.monotonic() - run.sent
        elif kind == "status":
            run.idle = run.idle or content["execution_state"] == "idle"
        elif kind == "input_request":
            run.prompts.append(content["prompt"])
            if self.answers:
                self.client.input(self.answers.pop(0))
        else:
            run.outputs.append((kind, content))
            run.last_output = time.monotonic() - run.sent

    def alive(self) -> bool:
        return self.manager.is_alive()

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def restart(self, limit: float = 60) -> float:
        """The front end's restart button; returns the seconds to the new kernel_info_reply."""
        started = time.monotonic()
        self.close()
        self.manager.restart_kernel()
        self.launched = started
        return self.connect(limit)

    def close(self) -> None:
        if self.client:
            self.client.stop_channels()
            self.client = None

    def shutdown(self) -> list[str]:
        """Ends the kernel as a front end does; returns the processes that are still there 3 s later, and ends them."""
        self.close()
        try:
            self.manager.shutdown_kernel()
            wait_until(lambda: not running(self.left()), 3)
            return [f"{pid} {command(pid)}" for pid in running(self.left())]
        finally:
            self.remove()

    def kill(self) -> None:
        """Ends everything by force: for a kernel that no longer answers."""
        self.close()
        try:
            self.manager.shutdown_kernel(now=True)
        finally:
            self.remove()

    def remove(self) -> None:
        LIVING.discard(self)
        self.log_file.close()
        for pid in self.left():
            end(pid)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def tree(self) -> list[int]:
        """The kernel process and all its descendants."""
        return [self.pid, *descendants(self.pid)]

    def left(self) -> list[int]:
        """Processes that carry this kernel's mark in their environment, wherever in the tree they have gone."""
        return [pid for pid in processes() if f"{MARK}={self.mark}" in environment(pid)]

    def log(self) -> str:
        return (self.scratch / "kernel.log").read_text(errors="replace")


class Plan:
    """Does something once, some time after a text was seen in the cell's output (or, without one, after the start)."""

    def __init__(self, action: Callable[[], object], after: float = 0.3, seen: str | None = None):
        self.action, self.after, self.seen = action, after, seen
        self.since: float | None = None
        self.done: float | None = None

    def step(self, run: Run) -> None:
        now = time.monotonic()
        if self.since is None and (self.seen is None or self.seen in run.stream("stdout")):
            self.since = now
        if self.done is None and self.since is not None and now - self.since >= self.after:
            self.done = now
            self.action()


@atexit.register
def end_the_living() -> None:
    for kernel in list(LIVING):
        kernel.kill()


def exit_when_asked() -> None:
    """SIGTERM ends a suite like an exception, so that no kernel outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def processes() -> Iterable[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def environment(pid: int) -> list[str]:
    return read(f"/proc/{pid}/environ").split("\0")


def read(path: str) -> str:
    """A file of /proc; empty if its process has gone or is not ours."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def state(pid: int) -> str:
    """The letter of ps(1), empty for a process that is gone."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].strip()[:1]


def running(pids: Iterable[int]) -> list[int]:
    """Those that are neither gone nor zombies."""
    return [pid for pid in pids if state(pid) not in ("", "Z", "X")]


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid in processes():
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(pid)
    found, todo = [], [root]
    while todo:
        todo += (below := children.get(todo.pop(), []))
        found += below
    return found


def command(pid: int) -> str:
    return read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:100] or read(f"/proc/{pid}/comm").strip()


def kib(pid: int, file: str, key: str) -> int:
    match = re.search(rf"^{key}:\s+(\d+) kB", read(f"/proc/{pid}/{file}"), re.M)
    return int(match[1]) if match else 0


def pss(pids: Iterable[int]) -> int:
    """Memory of the processes together in KiB, shared pages counted once."""
    return sum(kib(pid, "smaps_rollup", "Pss") for pid in pids)


def rss(pid: int) -> int:
    """Resident memory of one process in KiB."""
    return kib(pid, "status", "VmRSS")


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def closing_line(passed: int, failed: int, skipped: int) -> str:
    return f"{passed} passed, {failed} failed, {skipped} skipped"


class KernelCase(unittest.TestCase):
    """Cases that share one kernel."""

    name = os.environ.get("SYSLAB_KERNEL", "syslab")
    kernel: Kernel
    # Seconds for a cell.
    limit = 60.0

    @classmethod
    def setUpClass(cls) -> None:
        cls.kernel = Kernel(cls.name)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.kernel.kill()

    def run_ok(self, code: str) -> Run:
        run = self.kernel.run(code, limit=self.limit)
        self.assertEqual(run.status, "ok", f"{code}: {run.summary()}")
        return run

    def refused(self, code: str) -> Run:
        run = self.kernel.run(code, limit=self.limit)
        self.assertEqual(run.status, "error", f"{code}: {run.summary()}")
        return run


def hold(what: str) -> NoReturn:
    """Runs the cases of the main program; one line at the end, whatever was printed before."""
    result = unittest.main(exit=False, verbosity=0).result
    passed = result.testsRun - len(result.failures) - len(result.errors)
    print(f"{what}: {passed} of {result.testsRun} passed", file=sys.stderr, flush=True)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
