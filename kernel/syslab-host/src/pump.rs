//! Output on its way to the notebook.
//!
//! A thread reads the pipes of all cells: a process that outlives its cell still writes into that cell's pipe, and is
//! shown there. It reads at once, so that stdout and stderr keep their order, and sends in larger pieces, so that a
//! front end isn't drowned. A kernel that doesn't keep up makes the writer wait, as a terminal does.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use link::FromHost;

use crate::content::{Parser, Piece};
use crate::page::SHOWN;
use crate::reading;

/// How much is collected before it is sent …
const PIECE: usize = 64 << 10;
/// … and for how long.
const DELAY: Duration = Duration::from_millis(15);
/// For so long after something was written the pipes are watched without sleeping: to wake up takes longer than the next
/// write, and then nobody could tell which of the two pipes came first.
const EAGER: Duration = Duration::from_millis(2);
/// How often a look is taken whether somebody reads stdin.
const LOOK: Duration = Duration::from_millis(25);

/// What the pump is told.
enum Order {
    /// These are the ends of a cell's pipes: stdin to write to, stdout and stderr to read from.
    Attach(Ends),
    /// Everything that was written so far is to be sent before the answer. `over`: the cell has ended.
    Drain {
        cell: u64,
        over: bool,
        done: Sender<()>,
    },
    /// The pipes of the last cell go on as those of this one.
    Rename { to: u64 },
    /// A line of input, or the end of it.
    Input(Option<Vec<u8>>),
    /// Ask the front end when this process or a descendant reads.
    Watch(i32),
}

/// The host's ends of a cell's pipes.
pub(crate) struct Ends {
    pub(crate) cell: u64,
    /// With what `/proc` calls the other end.
    pub(crate) stdin: Option<(OwnedFd, String)>,
    pub(crate) stdout: OwnedFd,
    /// A terminal has none.
    pub(crate) stderr: Option<OwnedFd>,
}

/// Sends frames to the kernel, from any thread. What a kernel that is gone doesn't hear, nobody misses.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    pub(crate) fn new(stream: UnixStream) -> Line {
        Line(Arc::new(Mutex::new(stream)))
    }

    pub(crate) fn say(&self, frame: &FromHost, bytes: &[u8]) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = link::send(&mut *stream, frame, bytes);
    }
}

/// The thread, seen from outside.
pub(crate) struct Pump {
    orders: Sender<Order>,
    bell: OwnedFd,
}

impl Pump {
    pub(crate) fn start(line: Line) -> std::io::Result<Pump> {
        let (orders, received) = mpsc::channel();
        let (hear, bell) = crate::sys::pipe()?;
        nonblocking(hear.as_raw_fd());
        nonblocking(bell.as_raw_fd());
        let mut work = Work {
            line,
            received,
            hear,
            readers: Vec::new(),
            stdin: None,
            watched: None,
            asked: false,
            prompt: (String::new(), false),
            pending: Vec::new(),
            since: Instant::now(),
            looked: Instant::now(),
            active: Instant::now(),
            shown: HashMap::new(),
            buffer: vec![0; PIECE],
        };
        std::thread::Builder::new()
            .name("pump".into())
            .spawn(move || work.run())?;
        Ok(Pump { orders, bell })
    }

    pub(crate) fn attach(&self, ends: Ends) {
        self.order(Order::Attach(ends));
    }

    /// Returns when all that the cell has written so far is sent.
    pub(crate) fn drain(&self, cell: u64, over: bool) {
        let (done, wait) = mpsc::channel();
        self.order(Order::Drain { cell, over, done });
        let _ = wait.recv_timeout(Duration::from_secs(30));
    }

    pub(crate) fn rename(&self, to: u64) {
        self.order(Order::Rename { to });
    }

    pub(crate) fn input(&self, line: Option<Vec<u8>>) {
        self.order(Order::Input(line));
    }

    pub(crate) fn watch(&self, process: i32) {
        self.order(Order::Watch(process));
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
        // SAFETY: one byte of ours; a full pipe has rung already.
        unsafe { libc::write(self.bell.as_raw_fd(), [1u8].as_ptr().cast(), 1) };
    }
}

struct Reader {
    fd: OwnedFd,
    cell: u64,
    /// None: stderr, which is text.
    parser: Option<Parser>,
}

struct Work {
    line: Line,
    received: Receiver<Order>,
    hear: OwnedFd,
    readers: Vec<Reader>,
    /// The write end of the running cell's stdin, and what it is to `/proc`.
    stdin: Option<(OwnedFd, String)>,
    /// The cell whose stdin it is, and the process to watch.
    watched: Option<(u64, i32)>,
    asked: bool,
    prompt: (String, bool),
    pending: Vec<(u64, bool, Vec<u8>)>,
    /// When the first of `pending` came.
    since: Instant,
    looked: Instant,
    /// When something was read, or a cell began.
    active: Instant,
    /// How much each cell has shown, and how much more it has written.
    shown: HashMap<u64, (usize, usize)>,
    /// Where reads go.
    buffer: Vec<u8>,
}

impl Work {
    fn run(&mut self) {
        loop {
            let ready = self.wait();
            for fd in ready {
                self.read(fd, 1);
            }
            let late = self.since.elapsed() >= DELAY;
            if !self.pending.is_empty() && late {
                self.send();
            }
            self.look();
            loop {
                match self.received.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    /// The pipes that have something to read.
    fn wait(&mut self) -> Vec<RawFd> {
        let mut fds: Vec<libc::pollfd> = std::iter::once(self.hear.as_raw_fd())
            .chain(self.readers.iter().map(|reader| reader.fd.as_raw_fd()))
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let time = if self.watched.is_some() && self.active.elapsed() < EAGER {
            Duration::ZERO
        } else if self.pending.is_empty() {
            if self.watched.is_some() && self.stdin.is_some() && !self.asked {
                LOOK
            } else {
                Duration::from_secs(3600)
            }
        } else {
            DELAY.saturating_sub(self.since.elapsed()) + Duration::from_millis(1)
        };
        // SAFETY: the kernel reads and writes as many entries as the vector has.
        unsafe {
            libc::poll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                time.as_millis() as i32,
            )
        };
        if fds[0].revents != 0 {
            let mut bytes = [0u8; 64];
            // SAFETY: reads into a local of that size; the pipe doesn't block.
            unsafe { libc::read(fds[0].fd, bytes.as_mut_ptr().cast(), bytes.len()) };
        }
        fds[1..]
            .iter()
            .filter(|fd| fd.revents != 0)
            .map(|fd| fd.fd)
            .collect()
    }

    /// Reads what is there, up to about `most` bytes. At the end of the pipe its reader goes.
    fn read(&mut self, fd: RawFd, most: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_into(&mut buffer, fd, most);
        self.buffer = buffer;
    }

    fn read_into(&mut self, buffer: &mut [u8], fd: RawFd, most: usize) {
        let mut total = 0;
        while total < most {
            let Some(place) = self
                .readers
                .iter()
                .position(|reader| reader.fd.as_raw_fd() == fd)
            else {
                return;
            };
            // SAFETY: reads into a buffer of that size; the pipe doesn't block.
            let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
            let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
            let count = match count {
                count if count > 0 => count as usize,
                -1 if again.contains(&io::Error::last_os_error().kind()) => return,
                // The end; a terminal that nobody has open any more says EIO.
                _ => {
                    self.finish(place);
                    self.readers.remove(place);
                    return;
                }
            };
            total += count;
            self.active = Instant::now();
            let reader = &mut self.readers[place];
            let cell = reader.cell;
            match &mut reader.parser {
                None => self.text(cell, true, &buffer[..count]),
                Some(parser) => {
                    let pieces = parser.push(&buffer[..count]);
                    self.pieces(cell, pieces);
                }
            }
        }
    }

    fn finish(&mut self, place: usize) {
        let reader = &mut self.readers[place];
        let cell = reader.cell;
        if let Some(parser) = &mut reader.parser {
            let pieces = parser.finish();
            self.pieces(cell, pieces);
        }
    }

    fn pieces(&mut self, cell: u64, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text(cell, false, &text),
                Piece::Content(content) => {
                    self.send();
                    self.line.say(&FromHost::Show { cell, content }, b"");
                }
                Piece::Prompt { text, password } => self.prompt = (text, password),
            }
        }
    }

    fn text(&mut self, cell: u64, stderr: bool, bytes: &[u8]) {
        let (shown, more) = self.shown.entry(cell).or_default();
        let fits = bytes.len().min(SHOWN - *shown);
        *shown += fits;
        *more += bytes.len() - fits;
        let bytes = &bytes[..fits];
        if bytes.is_empty() {
            return;
        }
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        match self.pending.last_mut() {
            Some((of, to, text)) if (*of, *to) == (cell, stderr) => text.extend_from_slice(bytes),
            _ => self.pending.push((cell, stderr, bytes.to_vec())),
        }
        if self
            .pending
            .iter()
            .map(|(.., text)| text.len())
            .sum::<usize>()
            >= PIECE
        {
            self.send();
        }
    }

    fn send(&mut self) {
        for (cell, stderr, text) in std::mem::take(&mut self.pending) {
            self.line.say(&FromHost::Output { cell, stderr }, &text);
        }
    }

    fn look(&mut self) {
        let (Some((cell, process)), Some((_, file))) = (self.watched, &self.stdin) else {
            return;
        };
        if self.asked || self.looked.elapsed() < LOOK {
            return;
        }
        let began = Instant::now();
        if reading::somebody_reads(process, file) {
            self.asked = true;
            self.send();
            let (prompt, password) = std::mem::take(&mut self.prompt);
            self.line.say(
                &FromHost::InputRequest {
                    cell,
                    prompt,
                    password,
                },
                b"",
            );
        }
        // A thousand children take their time: not more than a tenth of ours.
        self.looked = Instant::now() + began.elapsed() * 10;
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Attach(Ends {
                cell,
                stdin,
                stdout,
                stderr,
            }) => {
                self.asked = false;
                self.prompt = (String::new(), false);
                self.stdin = stdin;
                if let Some((fd, _)) = &self.stdin {
                    nonblocking(fd.as_raw_fd());
                }
                self.watched = None;
                let stdout = Some((stdout, Some(Parser::default())));
                let stderr = stderr.map(|fd| (fd, None));
                for (fd, parser) in stdout.into_iter().chain(stderr) {
                    nonblocking(fd.as_raw_fd());
                    self.readers.push(Reader { fd, cell, parser });
                }
            }
            Order::Watch(process) => {
                let newest = self.readers.iter().map(|reader| reader.cell).max();
                self.watched = newest.map(|cell| (cell, process));
                self.active = Instant::now();
            }
            Order::Rename { to } => {
                let newest = self.readers.iter().map(|reader| reader.cell).max();
                for reader in &mut self.readers {
                    if Some(reader.cell) == newest {
                        reader.cell = to;
                    }
                }
            }
            Order::Input(Some(line)) => {
                self.asked = false;
                if let Some((fd, _)) = &self.stdin {
                    write_all(fd.as_raw_fd(), &line);
                }
            }
            Order::Input(None) => {
                if let Some((fd, file)) = self.stdin.take()
                    && file.starts_with('/')
                {
                    // Ctrl-D: the end of a terminal's input is a character.
                    write_all(fd.as_raw_fd(), &[4]);
                }
            }
            Order::Drain { cell, over, done } => {
                self.drain(cell, over);
                let _ = done.send(());
            }
        }
    }

    fn drain(&mut self, cell: u64, over: bool) {
        let fds: Vec<RawFd> = self
            .readers
            .iter()
            .filter(|reader| reader.cell == cell)
            .map(|reader| reader.fd.as_raw_fd())
            .collect();
        for fd in fds {
            // What a process that lives on writes meanwhile can wait.
            self.read(fd, SHOWN);
        }
        if over {
            self.watched = None;
            self.stdin = None;
            for place in 0..self.readers.len() {
                if self.readers[place].cell == cell {
                    self.finish(place);
                }
            }
        }
        self.send();
        if let Some((_, more)) = self.shown.get_mut(&cell)
            && *more > 0
            && over
        {
            let more = std::mem::take(more) as f64 / f64::from(1 << 20);
            let said = format!(
                "\n[{more:.1} MiB more are not shown: a notebook holds {} MiB of a cell's output; write it to a file]\n",
                SHOWN >> 20
            );
            self.line
                .say(&FromHost::Output { cell, stderr: true }, said.as_bytes());
        }
    }
}

fn nonblocking(fd: RawFd) {
    // SAFETY: sets a flag of an open descriptor of ours.
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
}

/// Writes to a pipe that doesn't block; what has no room within a second is dropped.
fn write_all(fd: RawFd, mut bytes: &[u8]) {
    let until = Instant::now() + Duration::from_secs(1);
    while !bytes.is_empty() && Instant::now() < until {
        // SAFETY: as many bytes as there are.
        match unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } {
            count if count >= 0 => bytes = &bytes[count as usize..],
            _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}
