//! Is it right in every order of the threads' steps?
//!
//! The exercise imports its atomics from `super::atomic` and finds these there: std's, which can be
//! watched, or stood in for by those of the model checker loom. Their size and their place in memory
//! are std's always, so that what is seen of them is true: one that is stood in for holds the number
//! of its stand-in.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU8;
pub use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64 as StandIn;

/// What an operation on an atomic does in this process.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Behaviour {
    /// What std does.
    Plain,
    /// That, and the address is noted.
    Watched,
    /// One step of a thread of the model checker; the address is noted.
    Modelled,
}

static BEHAVIOUR: AtomicU8 = AtomicU8::new(Behaviour::Plain as u8);
static TOUCHED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

thread_local! {
    // The model checker's threads all run on one thread of the kernel.
    static STAND_INS: RefCell<Vec<Rc<StandIn>>> = const { RefCell::new(Vec::new()) };
}

/// From now on, and for atomics made from now on.
pub fn behave(behaviour: Behaviour) {
    BEHAVIOUR.store(behaviour as u8, Ordering::Relaxed);
}

fn behaves(behaviour: Behaviour) -> bool {
    BEHAVIOUR.load(Ordering::Relaxed) == behaviour as u8
}

/// The addresses of the atomics that `f` uses, in ascending order.
pub fn touched(f: impl FnOnce()) -> Vec<usize> {
    TOUCHED.lock().unwrap().clear();
    f();
    let mut touched = std::mem::take(&mut *TOUCHED.lock().unwrap());
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// Runs `scenario` in one order of steps after the other, and returns the first error it gave.
pub fn check(scenario: fn() -> Result<(), String>) -> Result<(), String> {
    static FIRST: Mutex<Result<(), String>> = Mutex::new(Ok(()));
    let mut model = loom::model::Builder::new();
    // Named here, because the environment has a say in the defaults.
    model.max_threads = 4;
    model.max_branches = 1_000;
    model.max_permutations = None;
    model.max_duration = None;
    model.preemption_bound = Some(3);
    model.checkpoint_file = None;
    model.check(move || {
        STAND_INS.with_borrow_mut(Vec::clear);
        let outcome = scenario();
        let mut first = FIRST.lock().unwrap();
        if first.is_ok() {
            *first = outcome;
        }
    });
    FIRST.lock().unwrap().clone()
}

#[derive(Debug)]
#[repr(transparent)]
pub struct AtomicU64(std::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub fn new(value: u64) -> AtomicU64 {
        let modelled = || {
            STAND_INS.with_borrow_mut(|all| {
                all.push(Rc::new(StandIn::new(value)));
                all.len() as u64 - 1
            })
        };
        let held = if behaves(Behaviour::Modelled) {
            modelled()
        } else {
            value
        };
        AtomicU64(std::sync::atomic::AtomicU64::new(held))
    }

    fn stand_in(&self) -> Option<Rc<StandIn>> {
        if behaves(Behaviour::Plain) {
            return None;
        }
        TOUCHED
            .lock()
            .unwrap()
            .push(std::ptr::from_ref(self).addr());
        behaves(Behaviour::Modelled).then(|| {
            let number = self.0.load(Ordering::Relaxed) as usize;
            STAND_INS.with_borrow(|all| Rc::clone(&all[number]))
        })
    }
}

impl Default for AtomicU64 {
    fn default() -> AtomicU64 {
        AtomicU64::new(0)
    }
}

/// As [`std::sync::atomic::fence`].
pub fn fence(order: Ordering) {
    if behaves(Behaviour::Modelled) {
        loom::sync::atomic::fence(order);
    } else {
        std::sync::atomic::fence(order);
    }
}

macro_rules! operations {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl AtomicU64 {
            $(pub fn $name(&self, $($arg: $kind),*) -> $result {
                match self.stand_in() {
                    Some(stand_in) => stand_in.$name($($arg),*),
                    None => self.0.$name($($arg),*),
                }
            })*
        }
    };
}

type Exchanged = Result<u64, u64>;
operations! {
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    swap(value: u64, order: Ordering) -> u64;
    compare_exchange(current: u64, new: u64, success: Ordering, failure: Ordering) -> Exchanged;
    compare_exchange_weak(current: u64, new: u64, success: Ordering, failure: Ordering) -> Exchanged;
    fetch_add(value: u64, order: Ordering) -> u64;
    fetch_sub(value: u64, order: Ordering) -> u64;
    fetch_and(value: u64, order: Ordering) -> u64;
    fetch_nand(value: u64, order: Ordering) -> u64;
    fetch_or(value: u64, order: Ordering) -> u64;
    fetch_xor(value: u64, order: Ordering) -> u64;
    fetch_max(value: u64, order: Ordering) -> u64;
    fetch_min(value: u64, order: Ordering) -> u64;
    fetch_update(set: Ordering, fetch: Ordering, f: impl FnMut(u64) -> Option<u64>) -> Exchanged;
    try_update(set: Ordering, fetch: Ordering, f: impl FnMut(u64) -> Option<u64>) -> Exchanged;
    update(set: Ordering, fetch: Ordering, f: impl FnMut(u64) -> u64) -> u64;
}
