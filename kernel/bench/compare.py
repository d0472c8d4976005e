"""How long does a person wait, in this kernel and in others? Measured side by side, in one go.

Round by round, each kernel in turn is started afresh and measured once, so that whatever drifts on the machine hits
all of them. Medians with the least and the most; a wait that reaches its limit is shown as "hangs".

Needs evcxr_jupyter 0.22 on PATH or in EVCXR_JUPYTER, ipykernel beside this Python, and the kernelspec `syslab`;
what is missing is left out and said. Installs nothing.

Exit status: 0 measured, 1 measured but void (a kernel was built anew meanwhile), 2 no kernel to measure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from support import Kernel, KernelEnded, Plan, Run, exit_when_asked, pss, rss  # noqa: E402

LIMIT = 30
# A kernel may put off its own start-up work until after its first answers; figures from before then would flatter it.
SETTLE = 10
# A kernel that hung in a row of this many rounds is not waited for again.
GIVE_UP = 2
LINES = 100_000


class Hangs(Exception):
    """A wait reached its limit."""


class Unsupported(Exception):
    """The kernel answers, but can't do what is measured."""


@dataclass(frozen=True)
class Language:
    """The same cells, said in a kernel's language."""

    first_let: str
    println: str
    let: str
    use: str
    show: str
    fn: str
    compile_error: str
    dep: str | None
    completion: str
    loop: str
    lines: str


RUST = Language(
    first_let="let x = vec![1, 2, 3];",
    println='println!("hello");',
    let="let a{n} = {n};",
    use='println!("{{}}", a{n});',
    show="a{n}",
    fn="fn f{n}(x: i32) -> i32 {{ x + {n} }} f{n}(1);",
    compile_error="no_such_name{n}",
    dep=':dep nix = "0.31"\nprintln!("{}", nix::errno::Errno::EPERM);',
    completion="std::collections::HashM",
    loop='println!("looping"); loop { std::thread::sleep(std::time::Duration::from_millis(5)); }',
    lines='for i in 0..100_000 { println!("line {i}"); }',
)

TYPED_FIRST_LET = "let x: i32 = 42;"

PYTHON = Language(
    first_let="x = [1, 2, 3]",
    println='print("hello")',
    let="a{n} = {n}",
    use="print(a{n})",
    show="a{n}",
    fn="def f{n}(x): return x + {n}\nf{n}(1);",
    compile_error="no_such_name{n}",
    dep=None,
    completion="import collecti",
    loop='import time\nprint("looping", flush=True)\nwhile True: time.sleep(0.005)',
    lines='for i in range(100_000): print("line", i)',
)


@dataclass(frozen=True)
class Contender:
    title: str
    spec: str
    language: Language


class Bench:
    """One fresh kernel, measured from its launch to its restart."""

    def __init__(self, contender: Contender, first_let: str, skip: set[str]):
        self.contender, self.language = contender, contender.language
        self.first_let, self.skip = first_let, skip
        self.number = 0
        self.samples: dict[str, float | str] = {}
        self.kernel: Kernel | None = None

    def run(self, wanted: list[str]) -> dict[str, float | str]:
        try:
            for name in wanted:
                if name not in self.skip:
                    self.measure(name)
        finally:
            self.drop()
        return self.samples

    def measure(self, name: str) -> None:
        """A kernel that hung is thrown away: what comes next gets a fresh one."""
        try:
            if self.kernel is None:
                self.start()
            self.samples[name] = MEASURES[name](self)
        except KernelEnded:
            self.samples[name] = "ends"
            self.drop()
        except (Hangs, TimeoutError):
            self.samples[name] = "hangs"
            self.drop()
        except Unsupported:
            self.samples[name] = "–"

    def start(self) -> None:
        self.kernel = Kernel(self.contender.spec, connect=False)
        self.ready_ms = 1000 * self.kernel.connect(LIMIT)
        self.first_ms = float("nan")

    def drop(self) -> None:
        if self.kernel:
            self.kernel.kill()
        self.kernel = None

    def fresh(self, code: str) -> str:
        """The cell with a number that no cell before it had, so that nothing is compiled twice."""
        self.number += 1
        return code.format(n=self.number)

    def cell(self, code: str, limit: float = LIMIT, status: str = "ok") -> Run:
        run = self.kernel.run(code, limit)
        self.must_have_replied(run)
        if run.status != status:
            raise Unsupported(run.summary())
        return run

    def must_have_replied(self, run: Run) -> None:
        if run.reply is None:
            raise Hangs() if self.kernel.alive() else KernelEnded()

    def milliseconds(self, code: str, limit: float = LIMIT, status: str = "ok") -> float:
        return 1000 * self.cell(code, limit, status).seconds

    def ready(self) -> float:
        return self.ready_ms

    def first_cell(self) -> float:
        self.first_ms = self.milliseconds(self.first_let)
        return self.first_ms

    def launch_to_first(self) -> float:
        """What a person waits for: ready alone may say no more than that a socket answers."""
        if math.isnan(self.first_ms):
            raise Unsupported("no first let in this kernel")
        return self.ready_ms + self.first_ms

    def settled_memory(self) -> float:
        self.kernel.listen(SETTLE)
        return self.tree_memory()

    def first_completion(self) -> float:
        """Also what makes a kernel load whatever it completes with, as any notebook does soon."""
        started = time.monotonic()
        if not self.kernel.request(self.kernel.client.complete, self.language.completion, limit=120)["matches"]:
            raise Unsupported("no matches")
        return 1000 * (time.monotonic() - started)

    def println(self) -> float:
        return self.milliseconds(self.language.println)

    def let(self) -> float:
        return self.milliseconds(self.fresh(self.language.let))

    def known(self) -> str:
        """Makes a variable and returns what to put in the place of its number."""
        self.cell(self.fresh(self.language.let))
        return str(self.number)

    def use(self) -> float:
        return self.milliseconds(self.language.use.format(n=self.known()))

    def show(self) -> float:
        n = self.known()
        run = self.cell(self.language.show.format(n=n))
        if run.result != n:
            raise Unsupported(run.summary())
        return 1000 * run.seconds

    def fn(self) -> float:
        return self.milliseconds(self.fresh(self.language.fn))

    def compile_error(self) -> float:
        return self.milliseconds(self.fresh(self.language.compile_error), status="error")

    def dep(self) -> float:
        if self.language.dep is None:
            raise Unsupported("no such thing in this language")
        return self.milliseconds(self.language.dep, 180)

    def interrupt(self) -> float:
        """From the interrupt to the value of the next cell."""
        plan = Plan(self.kernel.interrupt, seen="looping")
        run = self.kernel.run(self.language.loop, LIMIT, plan)
        self.must_have_replied(run)
        if plan.done is None:
            raise Unsupported(run.summary())
        after = self.cell("1 + 1")
        if after.result != "2":
            raise Unsupported(after.summary())
        return 1000 * (after.sent + after.seconds - plan.done)

    def lines(self) -> float:
        """To the reply and to the last line, whichever comes later."""
        run = self.cell(self.language.lines, 120)
        last = f"line {LINES - 1}\n"
        # Not the very last message: some kernels show the value of a loop.
        if not self.kernel.listen(60, lambda: any(last in c.get("text", "") for _, c in run.outputs[-3:])):
            raise Unsupported("lines are missing")
        return 1000 * max(run.seconds, run.last_output)

    def restart(self) -> float:
        return 1000 * self.kernel.restart(LIMIT)

    def tree_memory(self) -> float:
        return pss(self.kernel.tree()) / 1024

    def kernel_memory(self) -> float:
        return rss(self.kernel.pid) / 1024


# In the order they are taken: the small cells and the memory when all is loaded, floods and restarts last.
MEASURES: dict[str, Callable[[Bench], float]] = {
    "ready": Bench.ready,
    "first let": Bench.first_cell,
    "launch to first let done": Bench.launch_to_first,
    "PSS of all, before completion": Bench.settled_memory,
    "first completion": Bench.first_completion,
    "println": Bench.println,
    "let": Bench.let,
    "use": Bench.use,
    "show": Bench.show,
    "fn + call": Bench.fn,
    "compile error": Bench.compile_error,
    "PSS of all, after completion": Bench.tree_memory,
    "RSS of kernel": Bench.kernel_memory,
    ":dep nix": Bench.dep,
    "interrupt": Bench.interrupt,
    "1e5 lines": Bench.lines,
    "restart": Bench.restart,
}
MEMORY = ("PSS of all, before completion", "PSS of all, after completion", "RSS of kernel")
# A row that needs another one's sample brings it along.
BRINGS = {"launch to first let done": ("ready", "first let")}


def contenders(specs: Path, ours: str) -> list[Contender]:
    """Those that are here; temporary kernelspecs for those that came without one."""
    found = []
    if evcxr := os.environ.get("EVCXR_JUPYTER") or shutil.which("evcxr_jupyter"):
        write_spec(specs, "bench-evcxr", [evcxr, "--control_file", "{connection_file}"], "message")
        found.append(Contender("evcxr", "bench-evcxr", RUST))
    if module_exists("ipykernel_launcher"):
        write_spec(specs, "bench-python", [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "signal")
        found.append(Contender("ipykernel", "bench-python", PYTHON))
    if ours in KernelSpecManager().find_kernel_specs():
        found.append(Contender(ours, ours, RUST))
    return found


def module_exists(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def write_spec(specs: Path, name: str, argv: list[str], interrupt_mode: str) -> None:
    folder = specs / "kernels" / name
    folder.mkdir(parents=True)
    spec = {"argv": argv, "display_name": name, "language": "rust", "interrupt_mode": interrupt_mode}
    (folder / "kernel.json").write_text(json.dumps(spec))


def programs(found: list[Contender]) -> dict[str, tuple[int, int]]:
    """What each kernel's program is now: one that was built anew half-way would mix two kernels into a figure."""
    specs = KernelSpecManager()
    paths = {c.title: shutil.which(specs.get_kernel_spec(c.spec).argv[0]) for c in found}
    return {title: (os.stat(path).st_ino, os.stat(path).st_mtime_ns) if path else (0, 0) for title, path in paths.items()}


def choose_first_let(found: list[Contender]) -> tuple[str, list[str]]:
    """The untyped `let` of a std type needs rust-src in evcxr: where it fails, all Rust kernels get the typed one."""
    for contender in found:
        if contender.language is not RUST:
            continue
        bench = Bench(contender, RUST.first_let, set())
        try:
            bench.start()
            run = bench.kernel.run(RUST.first_let, LIMIT)
        except TimeoutError:
            continue  # Its rows will say so.
        finally:
            bench.drop()
        if run.status != "ok":
            why = f"{contender.title} can't do `{RUST.first_let}` here ({run.status}); first let is `{TYPED_FIRST_LET}`"
            return TYPED_FIRST_LET, [why]
    return RUST.first_let, [f"first let is `{RUST.first_let}`, sent at once after ready"]


def measure_all(found: list[Contender], first_let: str, rounds: int, wanted: list[str]) -> dict[str, dict[str, list]]:
    samples = {c.title: {name: [] for name in wanted} for c in found}
    for number in range(1, rounds + 1):
        for contender in found:
            print(f"round {number} of {rounds}: {contender.title}", file=sys.stderr, flush=True)
            own = samples[contender.title]
            skip = {name for name, seen in own.items() if seen[-GIVE_UP:] == ["hangs"] * GIVE_UP}
            first = first_let if contender.language is RUST else contender.language.first_let
            for name, value in Bench(contender, first, skip).run(wanted).items():
                own[name].append(value)
    return samples


def numbers(seen: list) -> list[float]:
    return [value for value in seen if isinstance(value, float)]


def median(seen: list) -> float | None:
    return statistics.median(numbers(seen)) if numbers(seen) else None


def entry(seen: list) -> str:
    """Median and span; "hangs" or "ends" if most rounds did, and how many if some did."""
    good = numbers(seen)
    bad = {word: seen.count(word) for word in ("hangs", "ends") if word in seen}
    if sum(bad.values()) > len(good):
        return max(bad, key=bad.get)
    if not good:
        return "–"
    text = f"{figure(statistics.median(good))} ({figure(min(good))}–{figure(max(good))})"
    return ", ".join([text, *(f"{word} {n} of {len(seen)}" for word, n in bad.items())])


def figure(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def ratio(ours: list, theirs: list) -> str:
    a, b = median(ours), median(theirs)
    if a is None or b is None or {entry(ours), entry(theirs)} & {"hangs", "ends"}:
        return "–"
    return f"{a / b:.2f}"


def table(samples: dict[str, dict[str, list]], wanted: list[str], ours: str) -> str:
    titles = list(samples)
    compared = [t for t in titles if t != ours] if ours in titles else []
    head = ["ms, median (least–most)", *titles, *(f"{ours}/{t}" for t in compared)]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in wanted:
        unit = ", MiB" if name in MEMORY else ""
        cells = [entry(samples[t][name]) for t in titles]
        # One process of several says nothing beside one that holds all.
        ratios = ("–" if name == "RSS of kernel" else ratio(samples[ours][name], samples[t][name]) for t in compared)
        rows.append([name + unit, *cells, *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip() or "no rustc"
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, {rustc}, load {load:.1f} at the start"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="samples of each (default: 7)")
    parser.add_argument("--only", action="append", metavar="NAME", choices=MEASURES, help=f"one of {', '.join(MEASURES)}")
    parser.add_argument("--kernels", metavar="A,B", help="only these of evcxr, ipykernel and ours")
    parser.add_argument("--ours", default="syslab", help="kernelspec of our kernel (default: syslab)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every sample there")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    asked = set(options.only or MEASURES)
    asked.update(*(BRINGS.get(name, ()) for name in asked))
    wanted = [name for name in MEASURES if name in asked]
    with tempfile.TemporaryDirectory(prefix="compare-") as specs:
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [specs, os.environ.get("JUPYTER_PATH")]))
        found = contenders(Path(specs), options.ours)
        if options.kernels:
            found = [c for c in found if c.title in options.kernels.split(",")]
        if not found:
            print("no kernel to measure", file=sys.stderr)
            return 2
        header = machine()
        before = programs(found)
        first_let, notes = choose_first_let(found)
        samples = measure_all(found, first_let, options.rounds, wanted)
        after = programs(found)
    replaced = [title for title in before if before[title] != after[title]]
    notes.append("1e5 lines: taken in by a client that neither verifies nor dates messages; a front end needs longer for many")
    notes.append(f"before completion: {SETTLE} s after the first let; small cells are taken after a completion, with all loaded")
    notes.append("RSS of kernel is one process; where completion lives in another, only the PSS of all can be compared")
    notes.append(f":dep nix: {options.ours} has nix compiled before the session starts; the others fetch and build it")
    missing = {"evcxr", "ipykernel", options.ours} - set(samples)
    notes += [f"not measured: {', '.join(sorted(missing))}"] if missing else []
    print(f"{header}; {options.rounds} rounds\n\n{table(samples, wanted, options.ours)}\n")
    print("\n".join(f"- {note}" for note in notes))
    for title, own in samples.items():
        if lacking := [x for x in own.get("first completion", []) if not isinstance(x, float)]:
            print(f"- {title}: no completion in {len(lacking)} of {options.rounds} rounds, whose cells and memory are without it")
    if replaced:
        print(f"- VOID: the program of {', '.join(replaced)} was replaced during the run")
    if options.json:
        document = {"machine": header, "rounds": options.rounds, "notes": notes, "void": replaced, "samples": samples}
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return 1 if replaced else 0


if __name__ == "__main__":
    exit_when_asked()
    sys.exit(main())
