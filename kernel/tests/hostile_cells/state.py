"""What must last across cells, and what can't: runtimes with threads, statics, a crate's own globals, big heaps."""

from . import SEGV, Case, error, ok

RUNTIME = ok(
    """
let rt: tokio::runtime::Runtime =
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();"""
)

# Runs on a worker thread that an earlier cell started: only one instance of the crate finds its own thread-locals.
SPAWN = """
rt.block_on(async {
    tokio::spawn(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await; 5 }).await.unwrap()
})"""

# Dropping a runtime whose threads are gone would wait for them.
FORGET = ok("std::mem::forget(rt);")

CASES = [
    Case("tokio_across_cells", ok(SPAWN, value="5"), before=(RUNTIME, ok(SPAWN, value="5")), after=(ok("drop(rt);"),)),
    Case(
        "tokio_then_a_crash",
        error("SIGSEGV", SEGV, traceback="threads lost: [1-9]"),
        before=(RUNTIME, ok(SPAWN, value="5")),
        after=(FORGET,),
    ),
    Case(
        "static_keeps_its_value",
        ok("COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)", value="7"),
        before=(
            ok("static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(5);"),
            ok("COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)", value="5"),
            ok("COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)", value="6"),
        ),
    ),
    Case(
        "static_redefined_is_a_new_one",
        ok("AGAIN.load(std::sync::atomic::Ordering::SeqCst)", value="90"),
        before=(
            ok("static AGAIN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);"),
            ok("AGAIN.store(2, std::sync::atomic::Ordering::SeqCst);"),
            ok("static AGAIN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(90);"),
        ),
    ),
    Case(
        "static_after_a_crash",
        error("SIGSEGV", "MARK.store(9, std::sync::atomic::Ordering::SeqCst);" + SEGV),
        before=(ok("static MARK: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);"),
                ok("MARK.store(2, std::sync::atomic::Ordering::SeqCst);")),
        after=(ok("MARK.load(std::sync::atomic::Ordering::SeqCst)", value="2"),),
    ),
    Case(
        "registry_of_a_crate_is_one",
        # A second registry would not know the id that the first one gave.
        ok("signal_hook::low_level::unregister(id)", value="true"),
        before=(
            ok("let id: signal_hook::SigId = "
               "unsafe { signal_hook::low_level::register(signal_hook::consts::SIGUSR2, || {}) }.unwrap();"),
        ),
    ),
    Case(
        "flag_of_a_crate_across_cells",
        ok("unsafe { libc::raise(libc::SIGUSR2); } flag.load(std::sync::atomic::Ordering::SeqCst)", value="true"),
        before=(
            ok("let flag: std::sync::Arc<std::sync::atomic::AtomicBool> = Default::default();"),
            ok("signal_hook::flag::register(signal_hook::consts::SIGUSR2, std::sync::Arc::clone(&flag)).unwrap();"),
        ),
    ),
    Case(
        "gigabyte_heap",
        ok("let big: Vec<u8> = vec![1; 1 << 30];"),
        after=(ok("big.len()", value="1073741824"), ok("drop(big);")),
        needs=("memory",),
    ),
    Case(
        "gigabyte_heap_and_a_crash",
        error("SIGSEGV", "large[0] = 2;" + SEGV),
        before=(ok("let mut large: Vec<u8> = vec![1; 1 << 30];"),),
        after=(ok("large[0] + large[(1 << 30) - 1]", value="2"), ok("drop(large);")),
        needs=("memory",),
    ),
    Case(
        "type_of_a_variable_redefined",
        ok("let shape: Shape = Shape { a: 1, b: 2 };", status=None),
        before=(
            ok("#[derive(Debug)] struct Shape { a: i32 }"),
            ok("let shape: Shape = Shape { a: 1 };"),
            ok("#[derive(Debug)] struct Shape { a: i32, b: i32 }", status=None),
        ),
    ),
]
