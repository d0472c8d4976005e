"""What a cell forbids itself: files, file sizes, stack, memory, processes, processor time."""

from . import LOOP, Case, error, interrupted, ok, undone


def limit(resource: str, soft: int, hard: bool = False) -> str:
    """Lowers a limit; the hard one, which nobody but root can raise again, only on demand."""
    lower_hard = f"l.rlim_max = {soft};" if hard else ""
    return (
        f"unsafe {{ let mut l: libc::rlimit = std::mem::zeroed(); libc::getrlimit(libc::{resource}, &mut l); "
        f"l.rlim_cur = {soft}; {lower_hard} assert_eq!(libc::setrlimit(libc::{resource}, &l), 0); }}"
    )


def lift(resource: str) -> str:
    return (
        f"unsafe {{ let mut l: libc::rlimit = std::mem::zeroed(); libc::getrlimit(libc::{resource}, &mut l); "
        f"l.rlim_cur = l.rlim_max; assert_eq!(libc::setrlimit(libc::{resource}, &l), 0); }}"
    )


def case(resource: str, soft: int) -> Case:
    name = f"{resource.removeprefix('RLIMIT_').lower()}_{soft}"
    return Case(name, ok(limit(resource, soft)), after=(ok(lift(resource)),))


def hard_case(resource: str, soft: int, loss: str = "") -> Case:
    name = f"{resource.removeprefix('RLIMIT_').lower()}_{soft}_for_good"
    return Case(name, ok(limit(resource, soft, hard=True)), after=(interrupted(LOOP),), alone=True, loss=loss)


CASES = [
    case("RLIMIT_NOFILE", 0),
    case("RLIMIT_FSIZE", 0),
    case("RLIMIT_STACK", 65536),
    case("RLIMIT_AS", 1 << 20),
    case("RLIMIT_DATA", 1 << 20),
    case("RLIMIT_NPROC", 0),
    case("RLIMIT_MEMLOCK", 0),
    Case(
        "nofile_0_for_good",
        undone(limit("RLIMIT_NOFILE", 0, hard=True), "Too many open files"),
        after=(interrupted(LOOP),),
        alone=True,
    ),
    hard_case("RLIMIT_FSIZE", 0),
    # Who may not fork can have no checkpoint, and a cell that is ended costs the variables. Root may.
    hard_case("RLIMIT_NPROC", 0, loss="(?i)(variables|state|everything).*lost|lost:? .*variables"),
    hard_case("RLIMIT_STACK", 65536),
    Case(
        "cpu_time_over",
        error("SIGXCPU", limit("RLIMIT_CPU", 1) + "loop { std::hint::spin_loop(); }"),
    ),
    Case(
        "allocation_too_large",
        error("SIGABRT", limit("RLIMIT_AS", 1 << 30) + "let _: Vec<u8> = vec![1; 4 << 30];"),
    ),
]
