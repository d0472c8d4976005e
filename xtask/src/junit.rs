//! The results as JUnit XML, for a class's continuous integration.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::fail::{About as _, Result};
use crate::verdict::{Graded, Outcome, Tested};

/// One suite an exercise, one case a stage.
pub(crate) fn report(exercises: &[Graded]) -> Result<String> {
    let mut report = Report::new("syslab");
    for graded in exercises {
        let mut suite = TestSuite::new(format!("{}/{}", graded.chapter, graded.slug));
        if graded.tests.is_empty() {
            suite.add_test_case(case(
                &graded.slug,
                graded.outcome,
                graded.seconds,
                graded.message.as_deref(),
            ));
        }
        suite.add_test_cases(graded.tests.iter().map(|test| of_test(graded, test)));
        report.add_test_suite(suite);
    }
    report.to_string().about("cannot write the JUnit report")
}

fn of_test(graded: &Graded, test: &Tested) -> TestCase {
    let mut case = case(
        &test.name,
        test.outcome,
        test.seconds,
        test.message.as_deref(),
    );
    case.set_classname(format!("{}.{}", graded.chapter, graded.slug));
    if let Some(stderr) = &test.stderr {
        case.set_system_err(plain(stderr));
    }
    case
}

fn case(name: &str, outcome: Outcome, seconds: f64, message: Option<&str>) -> TestCase {
    let mut status = match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => TestCaseStatus::skipped(),
        Outcome::Failed | Outcome::Todo | Outcome::Leaked => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::DoesNotCompile | Outcome::TimedOut | Outcome::Crashed | Outcome::Tampered => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    if outcome != Outcome::Passed {
        status.set_type(outcome.word());
        status.set_message(plain(message.unwrap_or(outcome.word())));
    }
    let mut case = TestCase::new(name, status);
    case.set_time(Duration::from_secs_f64(seconds));
    case
}

/// Without the colours that rustc's errors carry, which XML can't hold.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
