//! What does a store promise after a call of its own has failed?

use super::world::{Contents, World, commit, contents, open, set, with};
use crate::kv_store::Store;
use observe::{Child, Errno, Failure, Fault, errno};

/// What came of a step in which something went wrong, and of the ones after it.
pub struct Wrong {
    pub result: Result<(), Failure>,
    pub shown: Contents,
    pub others: Vec<String>,
    /// A commit, and a compaction.
    next: [Result<(), Failure>; 2],
    /// Whether they changed the log.
    touched: bool,
    again: Result<Contents, Failure>,
}

/// Opens the store; takes a step under these faults; then commits, compacts, and opens it again.
#[track_caller]
pub fn go_wrong(
    case: &str,
    world: &World,
    faults: &[Fault],
    step: impl Fn(&mut Store) -> Result<(), Failure>,
) -> Wrong {
    let child = faults
        .iter()
        .fold(Child::new(), |child, fault| child.fault(fault.clone()));
    let wrong = child
        .run(|| {
            observe::region::end();
            let mut store = open(&world.store)?;
            observe::region::begin();
            let result = step(&mut store);
            observe::region::end();
            let (shown, others, log) = (contents(&store), world.others(), world.log());
            let next = [
                commit(&mut store, &[set("next", "1")]),
                errno(store.compact()),
            ];
            drop(store);
            let touched = world.log() != log;
            let again = open(&world.store).map(|store| contents(&store));
            Ok::<_, Failure>((result, shown, others, next, touched, again))
        })
        .returned();
    let (result, shown, others, next, touched, again) =
        wrong.unwrap_or_else(|failure| panic!("{case}: the store can't be opened: {failure}"));
    Wrong {
        result,
        shown,
        others,
        next,
        touched,
        again,
    }
}

impl Wrong {
    #[track_caller]
    fn again(&self, case: &str) -> &Contents {
        match &self.again {
            Ok(again) => again,
            Err(failure) => panic!("{case}: the store can't be opened again: {failure}"),
        }
    }

    #[track_caller]
    pub fn assert_goes_on(&self, case: &str, contents: &Contents) {
        for (what, next) in ["commit", "compaction"].iter().zip(&self.next) {
            assert_result(&format!("{case}; the next {what}"), next, 0);
        }
        let expected = with(contents.clone(), &[set("next", "1")]);
        assert_eq!(
            *self.again(case),
            expected,
            "{case}; then a commit: what the store shows, opened again"
        );
    }

    /// What the store shows when it is opened again.
    #[track_caller]
    pub fn assert_ended(&self, case: &str) -> &Contents {
        for (what, next) in ["commit", "compaction"].iter().zip(&self.next) {
            assert_result(&format!("{case}; the next {what}"), next, libc::EIO);
        }
        assert!(
            !self.touched,
            "{case}: the next commit or compaction changed the log all the same"
        );
        self.again(case)
    }
}

#[track_caller]
pub fn assert_result(case: &str, result: &Result<(), Failure>, expected: i32) {
    match result {
        Ok(()) if expected == 0 => {}
        Ok(()) => panic!(
            "{case}: succeeded instead of failing with {}",
            Errno(expected)
        ),
        Err(failure) if expected == 0 => panic!("{case}: failed with {failure}"),
        Err(failure) => assert!(
            failure.is(expected),
            "{case}: failed with {failure} instead of {}",
            Errno(expected)
        ),
    }
}
