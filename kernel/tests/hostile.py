"""Does the kernel outlive its cells? Runs every hostile cell and looks at the next one.

After each, `keep + 1` must answer 42 within 3 s, and a Vec and a String set when the kernel started must be whole.
A kernel that no longer answers, or not with what it was given, is replaced, and that is a failure of its case.

Exit status: 0 all held, 1 some did not (or none ran), 2 no kernel starts.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from typing import Iterator

from jupyter_client.kernelspec import NoSuchKernel

from hostile_cells import Case, Cell, table
from hostile_cells.needs import missing
from support import Kernel, Plan, Run, clip, closing_line, exit_when_asked

NEXT_CELL_LIMIT = 3
# An interrupt may have to wait 2 s for the cell to give in.
INTERRUPT_LIMIT = 4

ONCE = """
let data: Vec<u64> = (0..1000).collect();
let text: String = String::from("untouched");"""
WHOLE = 'format!("{} {}", data.iter().sum::<u64>(), text)'
WHOLE_VALUE = '"499500 untouched"'


class KernelLost(Exception):
    """The kernel does not answer any more, and an interrupt did not help."""


class CaseFailed(Exception):
    """What was seen instead of what must be seen."""


class StateLost(CaseFailed):
    """The kernel answers, but not with what it was given: the cases to come need a fresh one."""


class Runner:
    def __init__(self, kernel_name: str, limit: float | None, first: str, verbose: bool):
        self.kernel_name, self.limit, self.first, self.verbose = kernel_name, limit, first, verbose
        self.kernel: Kernel | None = None
        self.passed: list[Case] = []
        self.failed: list[Case] = []
        self.skipped: list[Case] = []

    def run(self, cases: list[Case]) -> None:
        for group in groups(cases):
            for case in group:
                self.run_case(case)
            self.stop(group[-1])
        self.run_again()

    def run_again(self) -> None:
        """The limits are a person's patience, and a machine may be busy: what fails twice, alone, has failed."""
        for case in list(self.failed):
            self.failed.remove(case)
            self.replace()
            self.run_case(case)
            self.stop(case)
            if case in self.passed:
                print(f"held the second time: {title(case)}", flush=True)

    def run_case(self, case: Case) -> None:
        if why := skip_reason(case):
            self.skipped.append(case)
            print(f"skip {title(case)}: {why}", flush=True)
            return
        started = time.monotonic()
        try:
            self.start()
            self.play(case)
        except StateLost as seen:
            self.fail(case, str(seen))
            self.replace()
        except CaseFailed as seen:
            self.fail(case, str(seen))
        except KernelLost as seen:
            self.fail(case, f"{seen}; kernel lost")
            self.replace()
        except TimeoutError as seen:
            self.fail(case, f"no kernel for it: {seen}")
            self.replace()
        else:
            self.passed.append(case)
            if self.verbose:
                print(f"ok   {title(case)} ({time.monotonic() - started:.1f} s)", flush=True)

    def fail(self, case: Case, seen: str) -> None:
        if case in self.passed:
            self.passed.remove(case)
        if case not in self.failed:
            self.failed.append(case)
        print(f"FAIL {title(case)}: {seen}", flush=True)

    def start(self) -> None:
        if self.kernel is None:
            self.kernel = Kernel(self.kernel_name)
            if self.first:
                demand(self.kernel.run(self.first, 300), "the first cell")
            demand(self.execute(Cell(ONCE, limit=60)), "setting the variables")

    def stop(self, last: Case) -> None:
        """A group's kernel must leave nothing behind; what it left is held against its last case."""
        if self.kernel is None:
            return
        kernel, self.kernel = self.kernel, None
        if left := kernel.shutdown():
            self.fail(last, f"processes left after shutdown: {', '.join(left[:5])}")

    def replace(self) -> None:
        kernel, self.kernel = self.kernel, None
        if kernel:
            kernel.kill()

    def play(self, case: Case) -> None:
        demand(self.execute(Cell("let keep: i32 = 41;")), "let keep")
        for n, cell in enumerate(case.before, 1):
            self.demand_seen(cell, f"preparing cell {n}")
        for _ in range(case.idle_interrupts):
            self.kernel.interrupt()
        run, complaint = self.see(case.cell)
        lost = self.follow(case, run, complaint)
        if complaint:
            raise CaseFailed(complaint)
        if lost:
            return
        said = run.said()
        for n, cell in enumerate(case.after, 1):
            said += self.demand_seen(cell, f"cell {n} after it").said()
        if case.follow:
            return
        whole, gone = self.see(Cell(WHOLE, value=re.escape(WHOLE_VALUE)))
        if gone and not (case.loss and whole.ename == "E0425" and re.search(case.loss, said)):
            raise StateLost(f"older variables: {gone}")

    def follow(self, case: Case, run: Run, complaint: str) -> bool:
        """Runs the next cell; returns whether variables were lost in a way that the case allows and the kernel said."""
        wanted = Cell(case.follow) if case.follow else Cell("keep + 1", value="42")
        follow = self.kernel.run(wanted.code, NEXT_CELL_LIMIT)
        wrong = complaints(follow, wanted)
        if not wrong:
            return False
        before = f"{complaint}; then " if complaint else ""
        if follow.reply is None:
            late = self.rescue(follow, wanted.code)
            raise StateLost(f"{before}the next cell did not answer within {NEXT_CELL_LIMIT} s ({late})")
        if case.loss and follow.ename == "E0425" and re.search(case.loss, run.said() + follow.said()):
            return True
        raise StateLost(f"{before}the next cell: {'; '.join(wrong)}; saw {follow.summary()}")

    def demand_seen(self, cell: Cell, what: str) -> Run:
        run, complaint = self.see(cell)
        if complaint:
            raise CaseFailed(f"{what}: {complaint}")
        return run

    def see(self, cell: Cell) -> tuple[Run, str]:
        """Runs a cell; returns it with what is wrong about it, if anything."""
        run = self.execute(cell)
        wrong = complaints(run, cell)
        if cell.late and not self.kernel.listen(4, lambda: re.search(cell.late, run.said()) is not None):
            wrong.append(f"{cell.late!r} never came")
        return run, f"{'; '.join(wrong)}; saw {run.summary()}" if wrong else ""

    def execute(self, cell: Cell) -> Run:
        plan = self.plan(cell)
        limit = min(cell.limit, self.limit or cell.limit)
        run = self.kernel.run(cell.code, limit, plan, answers=cell.answers)
        if run.reply is None:
            after = self.rescue(run, cell.code)
            raise CaseFailed(f"no reply to {clip(cell.code, 60)} within {limit} s ({after})")
        if plan and plan.done and run.sent + run.seconds - plan.done > INTERRUPT_LIMIT:
            raise CaseFailed(f"an interrupt took {run.sent + run.seconds - plan.done:.1f} s")
        return run

    def plan(self, cell: Cell) -> Plan | None:
        if not cell.interrupt:
            return None

        def interrupt() -> None:
            for _ in range(cell.interrupt.times):
                self.kernel.interrupt()

        return Plan(interrupt, cell.interrupt.after, cell.interrupt.seen)

    def rescue(self, run: Run, code: str) -> str:
        """Interrupts a cell that does not end, so that the next case has a kernel."""
        if self.kernel.alive():
            self.kernel.interrupt()
            self.kernel.finish(run, 6)
        if run.reply is None:
            state = "still no reply to" if self.kernel.alive() else "kernel process ended by"
            raise KernelLost(f"{state} {clip(code, 60)}; saw {run.summary()}")
        return f"ended by an interrupt: {run.summary()}"


def demand(run: Run, what: str) -> None:
    if run.status != "ok":
        raise CaseFailed(f"{what}: {run.summary()}")


def complaints(run: Run, cell: Cell) -> list[str]:
    """What differs between a cell's run and what must be seen."""
    if run.reply is None:
        return ["no reply"]
    wrong = []
    if not run.idle:
        wrong.append("no idle after the reply")
    if cell.status and run.status != cell.status:
        wrong.append(f"status {run.status} instead of {cell.status}")
    if cell.status == "error" and run.status == "error":
        wrong += error_complaints(run, cell)
    values = run.of("execute_result")
    if cell.value is not None and not re.fullmatch(cell.value, run.result or ""):
        wrong.append(f"value {run.result!r} instead of {cell.value}")
    if len(values) > 1:
        wrong.append(f"{len(values)} values")
    for name in ("stdout", "stderr"):
        seen = run.stream(name)
        wrong += [f"no {p!r} in {name}" for p in getattr(cell, name) if not re.search(p, seen)]
    wrong += [f"{p!r} was shown" for p in cell.never if re.search(p, run.stream("stdout") + run.stream("stderr"))]
    if cell.asked and len(run.prompts) != cell.asked:
        wrong.append(f"asked {len(run.prompts)} times for input instead of {cell.asked}")
    return wrong


def error_complaints(run: Run, cell: Cell) -> list[str]:
    """An error must say the same in the reply and on the page: its name, a sentence, and what was lost."""
    wrong = []
    if not re.fullmatch(cell.ename or ".+", run.ename):
        wrong.append(f"ename {run.ename!r} instead of {cell.ename!r}")
    if not run.evalue.strip():
        wrong.append("empty evalue")
    if cell.evalue and not re.search(cell.evalue, run.evalue):
        wrong.append(f"no {cell.evalue!r} in evalue")
    if cell.traceback and not re.search(cell.traceback, run.traceback):
        wrong.append(f"no {cell.traceback!r} in traceback {clip(run.traceback)}")
    if not run.of("error"):
        wrong.append("no error published")
    return wrong


def groups(cases: list[Case]) -> Iterator[list[Case]]:
    """Cases that share a kernel: those of a module, but one that can't be undone stays alone."""
    for _, group in itertools.groupby(cases, key=lambda c: title(c) if c.alone else c.group):
        yield list(group)


def title(case: Case) -> str:
    return f"{case.group}/{case.name}"


def skip_reason(case: Case) -> str:
    return ", ".join(why for need in case.needs if (why := missing(need)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="syslab", help="kernelspec to test (default: syslab)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="cases whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="names the cases and ends")
    parser.add_argument("--limit", type=float, help="cap, in seconds, on what any cell may take")
    parser.add_argument("--first", default="", metavar="CELL", help="cell every kernel runs first, such as ':dep libc'")
    parser.add_argument("-v", "--verbose", action="store_true", help="names the cases that held, too")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    cases = [c for c in table() if not options.only or any(name in title(c) for name in options.only)]
    if options.list:
        print("\n".join(map(title, cases)))
        return 0
    runner = Runner(options.kernel, options.limit, options.first, options.verbose)
    try:
        Kernel(options.kernel).shutdown()
        runner.run(cases)
    except (TimeoutError, OSError, NoSuchKernel) as problem:
        print(f"kernel {options.kernel!r} does not start: {problem}", file=sys.stderr)
        return 2
    finally:
        runner.replace()
    ran = len(runner.passed) + len(runner.failed)
    print(f"hostile cells: {len(runner.passed)} of {ran} held")
    print(closing_line(len(runner.passed), len(runner.failed), len(runner.skipped)))
    return 0 if ran and not runner.failed else 1


if __name__ == "__main__":
    exit_when_asked()
    sys.exit(main())
