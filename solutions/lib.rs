//! The exercises, solved.

/// System calls.
pub mod ch01_system_calls {
    pub mod copy_fd;
    pub mod gather_write;
    pub mod mini_strace;
    pub mod random_range;
    pub mod raw_write;
    pub mod read_exactly;
}

/// Processes.
pub mod ch02_processes {
    pub mod cgi;
    pub mod daemonize;
    pub mod mini_init;
    pub mod mini_shell;
    pub mod path_lookup;
    pub mod pipeline;
    pub mod redirect;
    pub mod run_command;
}

/// Signals and inter-process communication.
pub mod ch03_signals_ipc {
    pub mod crash_report;
    pub mod graceful_shutdown;
    pub mod message_pipe;
    pub mod priority_queue_ipc;
    pub mod shared_ring;
    pub mod signal_flag;
    pub mod signal_thread;
    pub mod supervisor;
}

/// File systems.
pub mod ch04_file_systems {
    pub mod atomic_replace;
    pub mod file_lock;
    pub mod kv_store;
    pub mod logical_volume;
    pub mod mmap_reader;
    pub mod page_cache;
    pub mod tree_walk;
    pub mod watch_tree;
}

/// Parallelism.
pub mod ch09_parallelism {
    // Where the exercises' tests put a model checker.
    use std::sync::atomic;

    pub mod lock_free_counter;
}
