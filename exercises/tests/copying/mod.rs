//! What is copied, from what and to what?

use nix::unistd::{Whence, lseek};
use observe::{Child, Failure, Run, Scratch};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a wrong loop has no end.
pub const LIMIT: Duration = Duration::from_secs(8);

/// What files are laid out in: no file system or page is larger.
pub const BLOCK: usize = 64 << 10;

/// The exercise.
type Copy = fn(&OwnedFd, &OwnedFd) -> Result<u64, Failure>;

/// Two files.
pub struct Site {
    pub scratch: Scratch,
    pub from: PathBuf,
    pub to: PathBuf,
}

impl Site {
    pub fn new() -> Site {
        let scratch = Scratch::new();
        let [from, to] = ["from", "to"].map(|name| scratch.join(name));
        Site { scratch, from, to }
    }

    /// The file to be copied, open for reading.
    pub fn from(&self, contents: &[u8]) -> File {
        fs::write(&self.from, contents).unwrap();
        File::open(&self.from).unwrap()
    }

    /// The file that becomes the copy, open for writing.
    pub fn to(&self, contents: &[u8]) -> File {
        fs::write(&self.to, contents).unwrap();
        File::options().write(true).open(&self.to).unwrap()
    }

    pub fn text(&self) -> String {
        fs::read(&self.to).unwrap().escape_ascii().to_string()
    }

    /// Copies `bytes` from one kind of descriptor to another in `child`; what arrived.
    pub fn pair(
        &self,
        from: &str,
        to: &str,
        child: Child,
        copy: Copy,
    ) -> (Run<Result<u64, Failure>>, Vec<u8>) {
        let source: OwnedFd = match from {
            "file" => self.from(&bytes()).into(),
            "pipe" => {
                let (reader, mut writer) = io::pipe().unwrap();
                writer.write_all(&bytes()).unwrap();
                reader.into()
            }
            _ => {
                let (reader, mut writer) = UnixStream::pair().unwrap();
                writer.write_all(&bytes()).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
                reader.into()
            }
        };
        let (sink, mut reader): (OwnedFd, Option<File>) = match to {
            "file" => (self.to(b"").into(), None),
            "O_APPEND file" => {
                self.to(b"");
                let append = File::options().append(true).open(&self.to).unwrap();
                (append.into(), None)
            }
            "pipe" => {
                let (reader, writer) = io::pipe().unwrap();
                (writer.into(), Some(File::from(OwnedFd::from(reader))))
            }
            _ => {
                let (reader, writer) = UnixStream::pair().unwrap();
                (writer.into(), Some(File::from(OwnedFd::from(reader))))
            }
        };
        let child = child.keep(&source).keep(&sink).limit(LIMIT);
        let started = child.start(|| copy(&source, &sink));
        // The child's are the only ones left.
        drop(sink);
        let mut arrived = Vec::new();
        match &mut reader {
            Some(reader) => {
                reader.read_to_end(&mut arrived).unwrap();
            }
            None => {
                started.ended();
                arrived = fs::read(&self.to).unwrap();
            }
        }
        (started.wait(), arrived)
    }
}

/// What is copied where it matters only that it is much: no two pages are the same.
pub fn bytes() -> Vec<u8> {
    (0..50_000_u32)
        .map(|number| (number * 7 / 255) as u8)
        .collect()
}

/// Writes data of these lengths into these blocks of a file, and nothing else.
pub fn punch(path: &Path, data: &[(u64, usize)], length: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
    for (block, length) in data {
        let offset = block * BLOCK as u64;
        file.write_all_at(&vec![b'd'; *length], offset).unwrap();
    }
}

/// The blocks from `start` on in which a file has data, counted from there.
pub fn data_of(path: &Path, start: u64) -> Vec<u64> {
    let file = File::open(path).unwrap();
    let blocks = 0..(file.metadata().unwrap().len() - start).div_ceil(BLOCK as u64);
    let has_data = |block: &u64| {
        let begin = (start + block * BLOCK as u64) as i64;
        let data = lseek(&file, begin, Whence::SeekData);
        data.is_ok_and(|data| data < begin + BLOCK as i64)
    };
    blocks.filter(has_data).collect()
}
