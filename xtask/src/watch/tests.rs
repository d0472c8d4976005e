//! Keys in, screens out: without a terminal and without a grader.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::grader::Asked;
use super::state::{Pane, State, Wish};
use super::theme::Theme;
use super::view;
use crate::course::Course;
use crate::grade::{Document, Summary};
use crate::sandbox::{Mode, Sandbox};
use crate::store::Store;
use crate::verdict::{Graded, Outcome, Seen, Tested};

const LIST: &str = r#"
[chapters]
ch01_one = "The first"
ch02_two = "The second"

[[exercise]]
chapter = "ch01_one"
slug = "write"
title = "Who writes?"
difficulty = 1
minutes = 5
limit_seconds = 5
man = ["write(2)"]
hints = ["look here", "call this", "    write(fd, bytes)"]

[[exercise]]
chapter = "ch02_two"
slug = "leave"
title = "Who leaves?"
difficulty = 2
minutes = 5
limit_seconds = 5
man = ["setsid(2)"]
hints = ["a", "b", "c"]
"#;

fn course(root: &Path) -> Course {
    Course::parse(root, LIST).unwrap()
}

fn press(state: &mut State<'_>, code: KeyCode) -> Option<Wish> {
    state.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn letter(state: &mut State<'_>, letter: char) -> Option<Wish> {
    press(state, KeyCode::Char(letter))
}

/// The screen as text, a line a row, without blanks at the ends.
fn screen(state: &mut State<'_>, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme::without_colours();
    terminal
        .draw(|frame| view::draw(frame, state, theme))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
    })
    .map(|row| row.trim_end().to_owned())
    .collect::<Vec<_>>()
    .join("\n")
}

fn stage(name: &str, outcome: Outcome) -> Tested {
    Tested::new(name, outcome, 0.5)
}

/// The grader's answer about `slug`.
fn document(slug: &str, tests: Vec<Tested>) -> Document {
    Document {
        version: 1,
        sandbox: Sandbox {
            mode: Mode::Namespaces,
            used: Vec::new(),
            missing: Vec::new(),
        },
        notices: Vec::new(),
        tampered: Vec::new(),
        interrupted: false,
        exercises: vec![Graded::of_tests("ch01_one", slug, tests)],
        summary: Summary::default(),
    }
}

fn failed() -> Tested {
    Tested {
        message: Some("the child still holds a pipe as descriptor 3".into()),
        file: Some("exercises/tests/ch01_write.rs".into()),
        line: Some(12),
        seen: Some(Seen {
            snapshot: String::new(),
            expected: "0: /dev/null\n1: /dev/null".into(),
            text: "0: /dev/null\n3: a pipe".into(),
        }),
        calls: Some("write(1, \"x\") = 1".into()),
        ..stage("child_holds_nothing", Outcome::Failed)
    }
}

#[test]
fn a_verdict_says_what_the_world_saw_and_fits_80_by_24() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    state.begins(Asked::Check);
    let tests = vec![stage("bytes_arrive", Outcome::Passed), failed()];
    state.graded(Asked::Check, Ok(document("write", tests)));
    insta::assert_snapshot!(screen(&mut state, 80, 24));
}

#[test]
fn a_pass_leads_on() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut store = Store::open(root.path()).0;
    let mut state = State::new(&course, &store, 0);
    let tests = vec![stage("bytes_arrive", Outcome::Passed)];
    let document = document("write", tests);
    store
        .keep("ch01_write", &document.exercises[0], "key")
        .unwrap();
    state.remember(&store);
    state.graded(Asked::Check, Ok(document));
    insta::assert_snapshot!(screen(&mut state, 60, 14));
    assert_eq!(letter(&mut state, 'n'), Some(Wish::Moved));
    assert_eq!(state.exercise().slug, "leave");
    assert_eq!(letter(&mut state, 'n'), None, "no other one is open");
    assert!(screen(&mut state, 60, 14).contains("no other exercise is open"));
}

#[test]
fn a_solution_opens_after_a_pass_only() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    letter(&mut state, 's');
    assert_eq!(state.pane, Pane::Verdict);
    assert!(screen(&mut state, 80, 24).contains("the solution opens after a pass"));
    let tests = vec![stage("bytes_arrive", Outcome::Passed)];
    state.graded(Asked::Check, Ok(document("write", tests)));
    letter(&mut state, 's');
    assert_eq!(state.pane, Pane::Solution);
}

#[test]
fn each_h_opens_one_tier_more() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    for tier in [1, 2, 3, 3] {
        assert_eq!(letter(&mut state, 'h'), Some(Wish::HintShown(tier)));
    }
    let text = screen(&mut state, 80, 24);
    for words in ["look here", "call this", "write(fd, bytes)"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn the_trace_is_the_failed_stages_or_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    state.graded(Asked::Check, Ok(document("write", vec![failed()])));
    assert_eq!(letter(&mut state, 't'), None);
    assert!(screen(&mut state, 80, 24).contains("write(1, \"x\") = 1"));

    let without = Tested {
        stderr: None,
        calls: None,
        ..failed()
    };
    state.graded(Asked::Check, Ok(document("write", vec![without])));
    state.begins(Asked::Check);
    assert_eq!(letter(&mut state, 't'), Some(Wish::Grade(Asked::Trace)));
    state.begins(Asked::Trace);
    assert!(screen(&mut state, 80, 24).contains("recording"));
    state.graded(Asked::Trace, Ok(document("write", vec![failed()])));
    assert!(screen(&mut state, 80, 24).contains("write(1, \"x\") = 1"));
}

#[test]
fn the_list_is_searched_by_words_and_man_pages() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    letter(&mut state, 'l');
    for typed in "setsid".chars() {
        assert_eq!(letter(&mut state, typed), None);
    }
    insta::assert_snapshot!(screen(&mut state, 60, 12));
    assert_eq!(press(&mut state, KeyCode::Enter), Some(Wish::Moved));
    assert_eq!(state.exercise().slug, "leave");
}

#[test]
fn a_reset_asks_first() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    letter(&mut state, 'r');
    assert_eq!(letter(&mut state, 'x'), None);
    letter(&mut state, 'r');
    assert_eq!(letter(&mut state, 'y'), Some(Wish::Reset));
}

#[test]
fn control_c_quits_from_everywhere() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    for pane in [Pane::Verdict, Pane::List, Pane::Reset, Pane::Trace] {
        let mut state = State::new(&course, &Store::open(root.path()).0, 0);
        state.pane = pane;
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(key), Some(Wish::Quit));
    }
}

#[test]
fn what_is_too_long_can_be_scrolled_and_too_small_a_screen_says_so() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    let calls: Vec<String> = (0..100).map(|n| format!("call {n}")).collect();
    let long = Tested {
        calls: Some(calls.join("\n")),
        ..failed()
    };
    state.graded(Asked::Check, Ok(document("write", vec![long])));
    letter(&mut state, 't');
    let top = screen(&mut state, 60, 12);
    assert!(
        top.contains("call 0") && top.contains("more lines"),
        "{top}"
    );
    press(&mut state, KeyCode::End);
    assert!(screen(&mut state, 60, 12).contains("call 99"));
    let text = screen(&mut state, 20, 5);
    assert!(
        text.contains("at least 40") && text.contains("please"),
        "{text}"
    );
}

#[test]
fn a_grader_that_cannot_work_says_why() {
    let root = tempfile::tempdir().unwrap();
    let course = course(root.path());
    let mut state = State::new(&course, &Store::open(root.path()).0, 0);
    state.begins(Asked::Check);
    let why = "error: the disk is full\n  next: df -h .".to_owned();
    state.graded(Asked::Check, Err(why));
    let text = screen(&mut state, 80, 24);
    assert!(
        text.contains("the disk is full") && text.contains("df -h"),
        "{text}"
    );
}

/// The picture in README.md: the screen after a save that was wrong. `SYSLAB_BLESS=1` draws it anew.
#[test]
fn the_readmes_picture_is_what_watch_draws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(crate::course::LIST)).unwrap();
    let course = Course::parse(root, &text).unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let at = course
        .exercises
        .iter()
        .position(|exercise| exercise.slug == "daemonize")
        .unwrap();
    let mut state = State::new(&course, &Store::open(nothing.path()).0, at);
    let stages = [
        ("caller_ends_and_daemon_lives_on", Outcome::Passed),
        ("daemon_has_left_session_and_terminal", Outcome::Failed),
        ("daemon_holds_nothing_of_its_caller", Outcome::Failed),
        ("caller_waits_until_daemon_is_ready", Outcome::Passed),
        ("lost_caller_is_epipe", Outcome::Passed),
        ("failure_reaches_the_caller", Outcome::Passed),
        ("second_start_is_eagain", Outcome::Passed),
        ("stale_pid_file_is_taken_over", Outcome::Passed),
    ];
    let mut tests: Vec<Tested> = stages.map(|(name, outcome)| stage(name, outcome)).into();
    tests[1] = Tested {
        message: Some("the daemon still holds /dev/pts/0 as descriptor 0".into()),
        file: Some("exercises/tests/ch02_daemonize.rs".into()),
        line: Some(83),
        ..tests[1].clone()
    };
    state.graded(Asked::Check, Ok(document("daemonize", tests)));
    let mut terminal = Terminal::new(TestBackend::new(80, 18)).unwrap();
    terminal
        .draw(|frame| view::draw(frame, &mut state, Theme::with_colours()))
        .unwrap();
    let drawn = picture(terminal.backend().buffer());
    let path = root.join("docs/watch.svg");
    if std::env::var_os("SYSLAB_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &drawn).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == drawn,
        "docs/watch.svg is not what watch draws: SYSLAB_BLESS=1 cargo test -p xtask readmes"
    );
}

/// A screen as SVG, in the colours of a dark terminal.
fn picture(buffer: &ratatui::buffer::Buffer) -> String {
    use ratatui::style::{Color, Modifier};
    use std::fmt::Write as _;
    const COLUMN: f64 = 8.4;
    const ROW: f64 = 18.0;
    let (columns, rows) = (buffer.area.width, buffer.area.height);
    let (width, height) = (
        f64::from(columns) * COLUMN + 24.0,
        f64::from(rows) * ROW + 24.0,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <title>cargo xtask watch: the stages of an exercise, what the world saw, and what to press</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#12161c\"/>\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let cell = &buffer[(column, row)];
            let style = cell.style();
            let from = column;
            let mut run = String::new();
            while column < columns && buffer[(column, row)].style() == style {
                run.push_str(buffer[(column, row)].symbol());
                column += 1;
            }
            if run.trim().is_empty() {
                continue;
            }
            let colour = match style.fg {
                Some(Color::Green) => "#4cc38a",
                Some(Color::Red) => "#ff7b72",
                Some(Color::Yellow) => "#e3b341",
                Some(Color::Cyan) => "#6cb6ff",
                _ if style.add_modifier.contains(Modifier::DIM) => "#8b949e",
                _ => "#e6edf3",
            };
            let bold = style.add_modifier.contains(Modifier::BOLD);
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\"{} textLength=\"{:.1}\" xml:space=\"preserve\">{}</text>",
                12.0 + f64::from(from) * COLUMN,
                26.0 + f64::from(row) * ROW,
                if bold { " font-weight=\"bold\"" } else { "" },
                f64::from(column - from) * COLUMN,
                crate::mime::escaped(&run),
            );
        }
    }
    text + "</svg>\n"
}
