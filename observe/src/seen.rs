//! How is what was seen compared with what a right answer looks like?

use crate::report::{Note, emit};
use serde::Serialize;

/// Compares the [`text`](crate::text()) of a value with the snapshot of that name beside the test's file, in
/// `snapshots/`. The grader is told the text, so that it can show Expected and Seen.
///
/// ```ignore
/// observe::assert_seen!("ch02_daemonize__daemon", process.facts());
/// ```
#[macro_export]
macro_rules! assert_seen {
    ($name:expr, $value:expr $(,)?) => {{
        let name: &str = $name;
        let text = $crate::seen(name, &$value);
        let mut settings = $crate::__insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_snapshot_path("snapshots");
        settings.bind(|| $crate::__insta::assert_snapshot!(name, text));
    }};
}

/// Renders a value for a snapshot and tells the grader. Used by [`assert_seen!`].
#[doc(hidden)]
#[track_caller]
pub fn seen(snapshot: &str, value: &impl Serialize) -> String {
    crate::report::begin();
    let text = crate::text(value);
    let place = std::panic::Location::caller();
    emit(&Note::Seen {
        snapshot: snapshot.to_owned(),
        text: text.clone(),
        file: crate::report::tidy_path(place.file()),
        line: place.line(),
    });
    text
}
