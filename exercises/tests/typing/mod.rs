//! Somebody at the shell's terminal, who types only when the prompt is there, and looks at /proc meanwhile.

use std::thread::sleep;
use std::time::{Duration, Instant};

use observe::{Child, End, Failure, Process, Started, errno, zombies};

use crate::mini_shell::shell;

pub const CTRL_C: &[u8] = b"\x03";
pub const CTRL_D: &[u8] = b"\x04";
pub const CTRL_Z: &[u8] = b"\x1a";

/// How long something that has to happen may take, below the shell's limit.
const PATIENCE: Duration = Duration::from_secs(9);

/// What `shell` returned.
pub type Answer = Result<i32, Failure>;

/// A shell in a child that leads a session on a terminal of its own.
pub struct Session {
    /// Taken when it has ended.
    started: Option<Started<Answer>>,
    /// So much of what the terminal shows was looked at.
    at: usize,
    /// What was typed last, for whoever is told of a failure.
    typed: String,
    /// Whether the terminal echoes.
    pub echo: bool,
}

impl Session {
    /// One that has written its first prompt.
    #[track_caller]
    pub fn start() -> Session {
        Session::start_in(Child::new())
    }

    #[track_caller]
    pub fn start_in(child: Child) -> Session {
        let child = child.terminal().limit(Duration::from_secs(50));
        let mut session = Session {
            started: Some(child.start(|| errno(shell()))),
            at: 0,
            typed: "nothing".to_owned(),
            echo: true,
        };
        session.prompt();
        session
    }

    fn started(&self) -> &Started<Answer> {
        self.started.as_ref().expect("a shell ends once")
    }

    pub fn pid(&self) -> i32 {
        self.started().pid()
    }

    /// What the shell itself has open.
    pub fn descriptors(&self) -> Vec<i32> {
        let shell = self.started().process();
        shell.map_or(Vec::new(), |shell| shell.descriptors.numbers())
    }

    /// Types without waiting.
    pub fn keys(&mut self, keys: &[u8]) {
        self.typed = match keys {
            CTRL_C => "^C".to_owned(),
            CTRL_D => "^D".to_owned(),
            CTRL_Z => "^Z".to_owned(),
            keys => format!(
                "`{}`",
                String::from_utf8_lossy(keys).trim_end().escape_debug()
            ),
        };
        self.started().type_keys(keys).unwrap();
    }

    /// Types a line; what the terminal shows between its echo and the next prompt.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> String {
        self.keys(format!("{line}\n").as_bytes());
        let shown = self.prompt();
        if !self.echo {
            return shown;
        }
        match shown.split_once('\n') {
            Some((_echo, output)) => output.to_owned(),
            None => shown,
        }
    }

    /// Waits for the next prompt; what the terminal shows until there.
    #[track_caller]
    pub fn prompt(&mut self) -> String {
        self.shows("$ ", "wrote no prompt")
    }

    /// Waits until the terminal's last words are these; what it shows before them, since it was looked at last.
    #[track_caller]
    pub fn shows(&mut self, last: &str, otherwise: &str) -> String {
        let shown = self.reads(|shown| shown.ends_with(last), otherwise);
        shown[..shown.len() - last.len()].replace("\r\n", "\n")
    }

    /// Waits until what the terminal shows, since it was looked at last, is as wanted.
    #[track_caller]
    pub fn reads(&mut self, wanted: impl Fn(&str) -> bool, otherwise: &str) -> String {
        let mut shown = String::new();
        let came = self.holds(|session| {
            let all = session.started().terminal();
            shown = String::from_utf8_lossy(&all[session.at..]).into_owned();
            wanted(&shown)
        });
        if !came {
            self.fail(otherwise);
        }
        self.at += shown.len();
        shown
    }

    /// `$?`.
    #[track_caller]
    pub fn status(&mut self) -> String {
        self.line("printf %s $?")
    }

    /// Waits until programs of these names run below the shell; the processes, in this order.
    #[track_caller]
    pub fn running(&mut self, names: &[&str]) -> Vec<Process> {
        let mut found = Vec::new();
        let all = self.holds(|session| {
            let mut others = session.started().others();
            found = names
                .iter()
                .filter_map(|name| {
                    let at = others.iter().position(|other| other.name == *name)?;
                    Some(others.remove(at))
                })
                .collect();
            found.len() == names.len()
        });
        if !all {
            self.fail(&format!("did not run {}", names.join(" and ")));
        }
        found
    }

    /// Waits until only this program runs below the shell, and something else holds.
    #[track_caller]
    pub fn alone(&mut self, name: &str, too: impl Fn() -> bool) {
        let alone = self.holds(|session| {
            // Asked first: whoever made it so was started before.
            too() && {
                let others = session.started().others();
                others.len() == 1 && others[0].name == name
            }
        });
        if !alone {
            self.fail(&format!("did not run only {name}"));
        }
    }

    /// Waits until the shell has done all that there was to do, whatever that was.
    #[track_caller]
    pub fn falls_asleep(&mut self) {
        if !self.started().falls_asleep(PATIENCE) {
            self.fail("never slept in a call");
        }
    }

    /// Waits until a process is in one of these states, as in proc(5); `Z` is also one that is gone.
    #[track_caller]
    pub fn becomes(&mut self, process: &Process, states: &str, otherwise: &str) {
        let state = || Process::of(process.pid).map_or('Z', |process| process.state);
        if !self.holds(|_| states.contains(state())) {
            self.fail(otherwise);
        }
    }

    /// Whether the terminal is the shell's now.
    #[track_caller]
    pub fn has_terminal_back(&mut self, when: &str) {
        // Of a shell that is traced, the signals that it ignores cannot stop it either.
        match self.started().process() {
            Ok(shell) if shell.in_foreground() => {}
            Ok(_) => panic!("{when}, the terminal's foreground group is not the shell's"),
            Err(_) => self.fail("ended"),
        }
    }

    /// Whether the shell has waited for all that ended.
    #[track_caller]
    pub fn no_zombie(&self, when: &str) {
        let zombies = zombies(self.pid());
        assert!(
            zombies.is_empty(),
            "{when}, of the shell's children {} are zombies",
            zombies.len()
        );
    }

    /// The shell's end.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        let run = self.started.take().expect("a shell ends once").wait();
        let typed = &self.typed;
        run.tell_todo();
        match run.returned_and_left().0 {
            Ok(status) => status,
            Err(failure) => panic!("after {typed}, shell failed with {failure}"),
        }
    }

    /// Waits until something holds, or the shell has ended.
    fn holds(&mut self, mut condition: impl FnMut(&Session) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        while !condition(self) {
            let ended = self
                .started()
                .process()
                .map_or(true, |shell| shell.zombie());
            if ended || Instant::now() > until {
                return condition(self);
            }
            sleep(Duration::from_millis(1));
        }
        true
    }

    /// Fails with what became of the shell, or with this of it.
    #[track_caller]
    pub fn fail(&mut self, otherwise: &str) -> ! {
        let typed = self.typed.clone();
        let started = self.started.take().expect("a shell ends once");
        if started.process().map_or(true, |shell| shell.zombie()) {
            let run = started.wait();
            run.tell_todo();
            match &run.end {
                End::Returned(Ok(status)) => {
                    panic!("after {typed} was typed, shell returned {status}")
                }
                // read(2) of somebody in the background whom SIGTTIN does not stop.
                End::Returned(Err(failure)) if failure.is(libc::EIO) => panic!(
                    "after {typed} was typed, shell failed with {failure}: \
                     the terminal's foreground group is not the shell's"
                ),
                End::Returned(Err(failure)) => {
                    panic!("after {typed} was typed, shell failed with {failure}")
                }
                _ => panic!("after {typed} was typed, the shell {}", run.sentence()),
            }
        }
        let stopped = started.stopped_by();
        let shown = String::from_utf8_lossy(&started.terminal()[self.at..]).into_owned();
        match stopped {
            Some(signal) => panic!("after {typed} was typed, the shell was stopped by {signal}"),
            None => panic!(
                "after {typed} was typed, the shell {otherwise}; the terminal shows {shown:?}{}",
                below(&started.others())
            ),
        }
    }
}

/// What the programs below the shell do, as one more part of a sentence.
fn below(programs: &[Process]) -> String {
    let words = programs.iter().map(|program| {
        let name = &program.name;
        match program.state {
            'Z' => format!("{name} is a zombie"),
            'T' => format!("{name} is stopped"),
            _ if program.in_foreground() => format!("{name} is in the foreground"),
            _ => format!("{name} is in the background"),
        }
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return String::new();
    }
    format!(", and below the shell {}", words.join(", "))
}
