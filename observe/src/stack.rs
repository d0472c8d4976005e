//! How does the test's stack survive in a copy of the process in which the test's thread does not?
//!
//! The closure lies there, with what it borrows. fork(2) copies the memory, but glibc's takes every stack except the
//! forking thread's for free (`reclaim_stacks` in nptl): a thread that the exercise makes gets the test's and writes over
//! the closure, or an ending one finds too many free and unmaps it. Free is a stack whose thread has the tid 0.

/// The stack of a thread, by where glibc keeps the thread's tid. Elsewhere than in glibc nothing is reclaimed.
pub(crate) struct Stack {
    tid: Option<(*mut i32, i32)>,
}

impl Stack {
    /// The calling thread's.
    pub(crate) fn mine() -> Stack {
        if !cfg!(target_env = "gnu") {
            return Stack { tid: None };
        }
        // SAFETY: neither takes anything.
        let (me, tid) = unsafe { (libc::pthread_self() as *mut i32, libc::gettid()) };
        // A pthread_t is the address of a struct of more than 2 KiB; where in it the tid is depends on the architecture.
        let words = (0..256).map(|word| me.wrapping_add(word));
        // SAFETY: within that struct, which lives as long as this thread; aligned.
        let place = words
            .into_iter()
            .find(|word| unsafe { word.read_volatile() } == tid);
        Stack {
            tid: place.map(|place| (place, tid)),
        }
    }

    /// In the copy, where another thread goes on: the stack is in use.
    pub(crate) fn keep(&self) {
        if let Some((place, tid)) = self.tid {
            // SAFETY: the copy of the word found in `mine`: the thread's stack, on which the struct lies, is mapped, and
            // this process has one thread.
            unsafe {
                // A main thread's stack is none of glibc's, and its tid was left as it was.
                if place.read_volatile() == 0 {
                    place.write_volatile(tid);
                }
            }
        }
    }
}
