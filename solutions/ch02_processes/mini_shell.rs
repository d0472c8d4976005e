//! # Who gets the keys that you press, and the Ctrl-C?
//!
//! A terminal belongs to one session, and within it to one process group at a time: the foreground.
//! It may read; whoever else tries gets SIGTTIN and is stopped. Ctrl-C and Ctrl-Z are signals to all of
//! the foreground group, sent by the kernel. A shell with job control does three things, then: it
//! makes each pipeline a process group, it hands the terminal to one of them (tcsetpgrp(3)), and it
//! takes it back when that one has ended *or stopped*.
//!
//! The traps are between those steps. fork(2) makes two processes, and nobody knows which runs
//! first: the program must not read before its group is the foreground, and the shell must not
//! wait for a group that does not exist yet. So both of them call setpgid(2), and the second call
//! does no harm. Also, a process that is not in the foreground and takes the terminal gets SIGTTOU,
//! even if it is the shell; and what the shell ignores, its children ignore, unless told otherwise.
//!
//! Build [`shell`]. It has a prompt, quotes, pipelines, `$?`, `&`, `jobs`, `fg`, `bg`: a day's work. The
//! stages come in this order, so begin with one program in the foreground.
//!
//! ```text
//! line     = [ pipeline [ "&" ] ]
//! pipeline = command { "|" command }
//! command  = word { word }
//! word     = piece { piece }                    pieces without a blank between them
//! piece    = character                          any but  blank tab ' " \ | &
//!          | "\" character                      that character
//!          | "'" { any but ' } "'"              as it stands
//!          | '"' { any but " } '"'              as it stands, but for $?
//! ```
//!
//! `$?` outside of `'…'` and not behind `\` is the last status, in decimal. That is all: `;`, `<`, `*`, any other
//! `$` and, in `"…"`, `\` are characters as others are. You need no more than execvp(3) to find a program.
//!
//! Man pages: credentials(7), setpgid(2), tcsetpgrp(3), tcgetattr(3), wait(2), signal(7), execve(2), pipe(2),
//! kill(2), termios(3).
//! Notebook: `02-processes.ipynb#sessions-and-process-groups`.

use std::ffi::{CStr, CString};
use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{
    ForkResult, Pid, dup2_stdin, dup2_stdout, execvp, fork, getpgrp, pipe2, setpgid, tcgetpgrp,
    tcsetpgrp,
};

/// Reads lines from the terminal that is descriptor 0 and runs them, until `exit` or end of file (Ctrl-D).
/// Called by the only thread of a process that leads the terminal's foreground group. Returns the
/// status: of `exit N` it is N, else the last one.
///
/// Before each line it writes the prompt `$ ` to descriptor 1. Ctrl-C, Ctrl-\ and Ctrl-Z do nothing to the
/// shell. Messages to the user, in your own words, go to descriptor 2.
///
/// **Pipelines.** The commands run side by side, each one's output being the next one's input; the
/// rest of the descriptors 0, 1 and 2 is the shell's, and no other is open. The shell itself keeps no end of a
/// pipe. All are in one process group, which the first one leads, from before execve(2). No signal is
/// blocked, or ignored (SIGPIPE included).
///
/// **Foreground.** Without `&` the pipeline's group is the terminal's foreground from before the programs
/// start until it ended or stopped: it is stopped when none of its processes runs any more, but not all have
/// ended. Then the shell is the foreground again. If the job was stopped, or its last command was
/// killed by a signal, the shell writes a newline (the cursor stands behind `^Z`), and gives the terminal the
/// modes back that it had before the job could change them, tcgetattr(3); if it exited, its
/// modes stay, as is `stty`'s purpose.
///
/// **Status.** `$?` is at first 0; after a foreground job the exit status of its last command, 128 + n if
/// signal n killed it, or stopped the job; 127 if the program isn't found, 126 if it can't be executed
/// otherwise; 0 after `&`; 2 for a line that is none (an open quote, `\` at the end, `|` without a
/// command at each side, `&` without one before or with something behind), of which nothing runs. An empty line leaves it.
///
/// **Jobs.** What is started with `&`, or stops in the foreground, gets a number: one more than the
/// largest in use, or 1. `&` writes `[1] 4711`, the number and the process group. Before a prompt the shell writes
/// which jobs have stopped or ended since it last said so, in order; what ended is then forgotten. It says
/// `[N] STATE TEXT`: `Running`, `Stopped`, or `Done` and the status; then the line, without `&` and the blanks
/// around. `[1] Stopped cat | wc -l`, `[2] Done 143 sleep 60`. All that ended has been waited for by then.
///
/// **Builtins**, in a line of one command without `&` (elsewhere, names like any other). `$?` is 0, after `fg` the
/// job's, or 1 after a message:
/// - `exit [N]`; `cd DIR`;
/// - `jobs` writes `[N] STATE TEXT` of each, as it is at this moment, also if it was continued by others;
/// - `fg [%N]` writes TEXT, and takes the job to the foreground. It goes on if it was stopped;
/// - `bg [%N]` lets it go on in the background, and writes `[N] Running TEXT`. Without `%N`, the largest is meant.
///
/// # Errors
/// - `ENOTTY`: descriptor 0 is no terminal.
/// - What reading from it fails with.
pub fn shell() -> io::Result<i32> {
    // ENOTTY, before anything is changed.
    tcgetpgrp(io::stdin())?;
    for number in KEPT_OFF {
        // SAFETY: SIG_IGN is no function, so no code of ours can run in a handler.
        unsafe { signal(number, SigHandler::SigIgn) }?;
    }
    let mut shell = Shell::default();
    loop {
        shell.tell_changes();
        print!("$ ");
        io::stdout().flush()?;
        let mut line = Vec::new();
        if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
            return Ok(shell.status);
        }
        match parse(&line, shell.status) {
            Ok(None) => {}
            Ok(Some(line)) => {
                if let Some(status) = shell.run(line)? {
                    return Ok(status);
                }
            }
            Err(reason) => {
                eprintln!("{reason}");
                shell.status = 2;
            }
        }
    }
}

/// What the terminal sends to stop or end a job, and what it sends to a shell in the background that takes it.
const KEPT_OFF: [Signal; 5] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

#[derive(Default)]
struct Shell {
    /// `$?`.
    status: i32,
    /// In the order of their numbers.
    jobs: Vec<Job>,
}

/// A pipeline that was started.
struct Job {
    number: usize,
    group: Pid,
    text: String,
    processes: Vec<(Pid, State)>,
    /// Whether the user knows that it has stopped or ended.
    told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Stopped(i32),
    Exited(i32),
    Killed(i32),
}

/// A line with at least one command.
struct Line {
    commands: Vec<Vec<CString>>,
    background: bool,
    text: String,
}

impl Shell {
    /// The status of the shell itself, if this was `exit`. An error is the shell's end: it has lost its terminal.
    fn run(&mut self, line: Line) -> io::Result<Option<i32>> {
        if let ([command], false) = (&line.commands[..], line.background) {
            let words: Vec<String> = command
                .iter()
                .map(|word| word.to_string_lossy().into())
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["exit"] => return Ok(Some(self.status)),
                ["exit", number] => match number.parse::<i32>() {
                    Ok(number) => return Ok(Some(number)),
                    Err(error) => self.builtin(Err(format!("exit: {number}: {error}"))),
                },
                ["cd", path] => {
                    let done = std::env::set_current_dir(path);
                    self.builtin(done.map_err(|error| format!("cd: {path}: {error}")));
                }
                ["jobs"] => {
                    self.notice_changes();
                    for job in &mut self.jobs {
                        job.tell();
                    }
                    self.jobs.retain(|job| !job.ended());
                    self.status = 0;
                }
                ["fg", ..] => match self.take(&words) {
                    Ok(mut job) => {
                        println!("{}", job.text);
                        job.set_stopped_running();
                        let modes = tcgetattr(io::stdin())?;
                        self.wait_in_foreground(job, &modes, true)?;
                    }
                    Err(reason) => self.builtin(Err(reason)),
                },
                ["bg", ..] => match self.take(&words) {
                    Ok(mut job) => {
                        job.set_stopped_running();
                        job.tell();
                        let sent = killpg(job.group, Signal::SIGCONT);
                        self.insert(job);
                        self.builtin(sent.map_err(|errno| format!("bg: {errno}")));
                    }
                    Err(reason) => self.builtin(Err(reason)),
                },
                ["exit" | "cd" | "jobs", ..] => {
                    self.builtin(Err(format!("{}: wrong arguments", words[0])));
                }
                _ => self.start(line)?,
            }
        } else {
            self.start(line)?;
        }
        Ok(None)
    }

    fn builtin(&mut self, done: Result<(), String>) {
        self.status = i32::from(done.is_err());
        if let Err(reason) = done {
            eprintln!("{reason}");
        }
    }

    /// Starts a pipeline. The terminal, if it is to have it, is given by whoever comes first.
    fn start(&mut self, line: Line) -> io::Result<()> {
        let number = self.jobs.last().map_or(1, |job| job.number + 1);
        // Once it has been forked, the job may change them before the shell does anything.
        let modes = tcgetattr(io::stdin())?;
        let mut job = Job {
            number,
            group: Pid::from_raw(0),
            text: line.text,
            processes: Vec::new(),
            told: true,
        };
        let mut input: Option<OwnedFd> = None;
        for (at, command) in line.commands.iter().enumerate() {
            let last = at + 1 == line.commands.len();
            match spawn(command, job.group, !line.background, input.as_ref(), last) {
                Ok((pid, next)) => {
                    if job.processes.is_empty() {
                        job.group = pid;
                    }
                    // EACCES once it has called execve(2): then it has done this itself before.
                    let _ = setpgid(pid, job.group);
                    job.processes.push((pid, State::Running));
                    input = next;
                }
                Err(errno) => {
                    eprintln!("the pipeline was not started: {errno}");
                    if job.processes.is_empty() {
                        self.status = 1;
                        return Ok(());
                    }
                    let _ = killpg(job.group, Signal::SIGKILL);
                    break;
                }
            }
        }
        if line.background {
            println!("[{number}] {}", job.group);
            self.jobs.push(job);
            self.status = 0;
            return Ok(());
        }
        self.wait_in_foreground(job, &modes, false)
    }

    /// The job is the foreground until it has ended or stopped.
    fn wait_in_foreground(&mut self, mut job: Job, modes: &Termios, go_on: bool) -> io::Result<()> {
        let terminal = io::stdin();
        // The child did it, too. An error means that all of the group have ended by now.
        let _ = tcsetpgrp(&terminal, job.group);
        if go_on {
            // After that: who reads first would be stopped again.
            let _ = killpg(job.group, Signal::SIGCONT);
        }
        while job.state() == State::Running {
            match wait(-job.group.as_raw(), libc::WUNTRACED) {
                Ok(Some((pid, state))) => {
                    job.update(pid, state);
                }
                Err(Errno::EINTR) => {}
                // Nobody else reaps here; and nobody would be told.
                Ok(None) | Err(_) => break,
            }
        }
        // Not the foreground at this moment: SIGTTOU, but that it is ignored.
        tcsetpgrp(&terminal, getpgrp())?;
        let state = job.state();
        if let State::Stopped(_) | State::Killed(_) = state {
            tcsetattr(&terminal, SetArg::TCSADRAIN, modes)?;
            println!();
        }
        self.status = state.status();
        if !job.ended() {
            job.told = false;
            self.insert(job);
        }
        Ok(())
    }

    /// Takes a job out of the table: of `fg` and `bg`.
    fn take(&mut self, words: &[&str]) -> Result<Job, String> {
        self.notice_changes();
        let at = match words[1..] {
            [] => self.jobs.len().checked_sub(1),
            [number] => {
                let number = number
                    .strip_prefix('%')
                    .and_then(|number| number.parse().ok());
                self.jobs.iter().position(|job| Some(job.number) == number)
            }
            _ => None,
        };
        // One that has ended meanwhile is told of at the next prompt.
        let at = at.filter(|at| !self.jobs[*at].ended());
        let job = at.map(|at| self.jobs.remove(at));
        job.ok_or_else(|| format!("{}: no such job", words[0]))
    }

    fn insert(&mut self, job: Job) {
        let at = self.jobs.partition_point(|other| other.number < job.number);
        self.jobs.insert(at, job);
    }

    /// Asks the kernel what has become of all children, without waiting.
    fn notice_changes(&mut self) {
        let options = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        while let Ok(Some((pid, state))) = wait(-1, options) {
            self.jobs.iter_mut().any(|job| job.update(pid, state));
        }
    }

    fn tell_changes(&mut self) {
        self.notice_changes();
        for job in &mut self.jobs {
            if !job.told && job.state() != State::Running {
                job.tell();
            }
        }
        self.jobs.retain(|job| !job.ended());
    }
}

impl Job {
    /// Running while one process is; then stopped while one is; then as the last one ended.
    fn state(&self) -> State {
        let mut all = self.processes.iter().map(|(_, state)| *state);
        let stopped = |state: &State| matches!(state, State::Stopped(_));
        if all.clone().any(|state| state == State::Running) {
            State::Running
        } else if let Some(stopped) = all.clone().find(stopped) {
            stopped
        } else {
            all.next_back().unwrap_or(State::Exited(0))
        }
    }

    fn ended(&self) -> bool {
        matches!(self.state(), State::Exited(_) | State::Killed(_))
    }

    /// Whether `pid` was one of its processes.
    fn update(&mut self, pid: Pid, state: State) -> bool {
        let Some(process) = self.processes.iter_mut().find(|process| process.0 == pid) else {
            return false;
        };
        process.1 = state;
        self.told = false;
        true
    }

    /// Before SIGCONT: what the job does then is news.
    fn set_stopped_running(&mut self) {
        for (_, state) in &mut self.processes {
            if let State::Stopped(_) = state {
                *state = State::Running;
            }
        }
    }

    fn tell(&mut self) {
        let state = match self.state() {
            State::Running => "Running".to_owned(),
            State::Stopped(_) => "Stopped".to_owned(),
            ended => format!("Done {}", ended.status()),
        };
        println!("[{}] {state} {}", self.number, self.text);
        self.told = true;
    }
}

impl State {
    /// As `$?` has it.
    fn status(self) -> i32 {
        match self {
            State::Running => 0,
            State::Exited(status) => status,
            State::Stopped(signal) | State::Killed(signal) => 128 + signal,
        }
    }
}

/// waitpid(2). By libc's macros: nix's WaitStatus knows no real-time signal.
fn wait(pid: i32, options: i32) -> nix::Result<Option<(Pid, State)>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int during the call.
    let pid = Errno::result(unsafe { libc::waitpid(pid, &raw mut status, options) })?;
    let state = if libc::WIFEXITED(status) {
        State::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        State::Killed(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        State::Stopped(libc::WSTOPSIG(status))
    } else {
        State::Running
    };
    Ok((pid != 0).then_some((Pid::from_raw(pid), state)))
}

/// Starts one command of a pipeline: its pid, and what the next one reads.
fn spawn(
    command: &[CString],
    group: Pid,
    foreground: bool,
    input: Option<&OwnedFd>,
    last: bool,
) -> nix::Result<(Pid, Option<OwnedFd>)> {
    // Close-on-exec: a writer's end that some other program had would keep this one's reader waiting.
    let pipe = if last {
        None
    } else {
        Some(pipe2(OFlag::O_CLOEXEC)?)
    };
    // SAFETY: the process has one thread (our own contract), so the copy is complete.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let output = pipe.as_ref().map(|pipe| &pipe.1);
            let error = become_program(command, group, foreground, input, output);
            // One write(2), not through a buffer that the shell has, too.
            let text = format!("{}: {}\n", command[0].to_string_lossy(), error.desc());
            let _ = nix::unistd::write(io::stderr(), text.as_bytes());
            let status = if error == Errno::ENOENT { 127 } else { 126 };
            // SAFETY: ends the copy without running anything of the shell's.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => Ok((child, pipe.map(|pipe| pipe.0))),
    }
}

/// In the child. Returns only if it fails.
fn become_program(
    command: &[CString],
    group: Pid,
    foreground: bool,
    input: Option<&OwnedFd>,
    output: Option<&OwnedFd>,
) -> Errno {
    let become_it = || -> nix::Result<()> {
        // The shell does the same. Here, so that the program finds it done; there, so that the shell does.
        setpgid(Pid::from_raw(0), group)?;
        if foreground {
            // While SIGTTOU is ignored still, and descriptor 0 the terminal.
            tcsetpgrp(io::stdin(), getpgrp())?;
        }
        for number in KEPT_OFF.into_iter().chain([Signal::SIGPIPE]) {
            // SAFETY: SIG_DFL is no function.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
        if let Some(input) = input {
            dup2_stdin(input)?;
        }
        if let Some(output) = output {
            dup2_stdout(output)?;
        }
        execvp::<&CStr>(
            &command[0],
            &command.iter().map(CString::as_c_str).collect::<Vec<_>>(),
        )?;
        Ok(())
    };
    become_it().err().unwrap_or(Errno::EINVAL)
}

enum Token {
    Word(Vec<u8>),
    Pipe,
    And,
}

/// None for an empty line, a reason for one that is none.
fn parse(line: &[u8], status: i32) -> Result<Option<Line>, &'static str> {
    let mut tokens = tokens(line.strip_suffix(b"\n").unwrap_or(line), status)?;
    let background = matches!(tokens.last(), Some(Token::And));
    if background {
        tokens.pop();
    } else if tokens.is_empty() {
        return Ok(None);
    }
    let mut commands = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::And => return Err("nothing may stand behind &"),
            Token::Pipe => commands.push(Vec::new()),
            Token::Word(word) => {
                let word = CString::new(word).map_err(|_| "a word holds a NUL")?;
                commands.last_mut().expect("there is one").push(word);
            }
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("a command is missing");
    }
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    let text = if background {
        text.trim_end_matches('&').trim_end()
    } else {
        text
    };
    Ok(Some(Line {
        commands,
        background,
        text: text.to_owned(),
    }))
}

/// Splits a line. A word is there as soon as it has a piece, be it `''`.
fn tokens(line: &[u8], status: i32) -> Result<Vec<Token>, &'static str> {
    let status = status.to_string();
    let mut tokens = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b' ' | b'\t' | b'|' | b'&' => {
                tokens.extend(word.take().map(Token::Word));
                match byte {
                    b'|' => tokens.push(Token::Pipe),
                    b'&' => tokens.push(Token::And),
                    _ => {}
                }
            }
            b'\\' => {
                let (escaped, after) = rest.split_first().ok_or("nothing stands behind \\")?;
                word.get_or_insert_default().push(*escaped);
                rest = after;
            }
            b'\'' | b'"' => {
                let end = rest
                    .iter()
                    .position(|other| *other == byte)
                    .ok_or("a quote is open")?;
                let word = word.get_or_insert_default();
                let mut inside = &rest[..end];
                rest = &rest[end + 1..];
                while let Some((&first, after)) = inside.split_first() {
                    if byte == b'"' && inside.starts_with(b"$?") {
                        word.extend(status.bytes());
                        inside = &inside[2..];
                    } else {
                        word.push(first);
                        inside = after;
                    }
                }
            }
            b'$' if rest.starts_with(b"?") => {
                word.get_or_insert_default().extend(status.bytes());
                rest = &rest[1..];
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}
