"""What can a cell do to the kernel that runs it, and what must be seen then? The table; `hostile.py` runs it.

One module a subject. Types are written out at every top-level `let`, so that no cell waits for type inference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Interrupt:
    """Interrupts sent `after` seconds from the moment that `seen` stood in stdout (without: from the start)."""

    seen: str | None = "looping"
    after: float = 0.3
    times: int = 1


@dataclass(frozen=True)
class Cell:
    """A cell and what must be seen. Patterns are regular expressions; `status` None accepts any."""

    code: str
    status: str | None = "ok"
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    value: str | None = None
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    late: str = ""
    answers: tuple[str, ...] | None = None
    asked: int = 0
    interrupt: Interrupt | None = None
    limit: float = 20


@dataclass(frozen=True)
class Case:
    """A hostile cell between the cells that prepare it and those that look at, or clean up, what it left.

    `alone`: what it does can't be undone, so it gets a kernel of its own.
    `loss`: words the kernel must have said if variables are gone; without, none may be gone.
    `follow`: replaces `keep + 1` where the case forbids showing a value.
    `idle_interrupts`: how many interrupts arrive while nothing runs, right before the cell.
    """

    name: str
    cell: Cell
    before: tuple[Cell, ...] = ()
    after: tuple[Cell, ...] = ()
    needs: tuple[str, ...] = ()
    alone: bool = False
    loss: str = ""
    follow: str = ""
    idle_interrupts: int = 0
    group: str = ""


def ok(code: str, **seen) -> Cell:
    return Cell(code, **seen)


def error(ename: str, code: str, **seen) -> Cell:
    return Cell(code, status="error", ename=ename, **seen)


def interrupted(code: str, **seen) -> Cell:
    """A cell that prints `looping`, never ends, and is interrupted."""
    seen.setdefault("interrupt", Interrupt())
    return error("Interrupted", code, **seen)


def undone(code: str, why: str) -> Cell:
    """A cell after which no other could be loaded: the process goes back to before it, and the reply says why."""
    return error("Undone", code, evalue=why, traceback="as they were before")


# Ends only from outside, and shows first that it has begun.
LOOP = 'println!("looping"); loop { std::thread::sleep(std::time::Duration::from_millis(5)); }'

# Not null and aligned: a debug build would turn a null write into a panic.
SEGV = "unsafe { *(0x10 as *mut i32) = 7; }"


def table() -> list[Case]:
    """All cases, each with the name of its module as its group."""
    from . import confinement, crashes, descriptors, inputs, interrupts, limits, outputs, processes, signals, state

    modules = [outputs, inputs, descriptors, crashes, signals, interrupts, processes, state, limits, confinement]
    named = [replace(c, group=m.__name__.rpartition(".")[2]) for m in modules for c in m.CASES]
    order = [m.__name__.rpartition(".")[2] for m in modules]
    # Those that need a kernel of their own come last, so that the others of their module share one.
    return sorted(named, key=lambda c: (order.index(c.group), c.alone))
