//! What does `/proc/PID` say, and what if it does not?

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;

/// A process by its number; 0 is the calling one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(i32);

impl Pid {
    /// Its number, with 0 resolved.
    pub(crate) fn number(self) -> i32 {
        match self.0 {
            0 => std::process::id() as i32,
            number => number,
        }
    }

    /// "process 17 (bash)".
    pub(crate) fn title(self) -> String {
        let number = self.number();
        match read(number, "comm") {
            Ok(name) => format!("process {number} ({})", name.trim_end()),
            Err(_) => format!("process {number}"),
        }
    }
}

impl From<i32> for Pid {
    fn from(number: i32) -> Pid {
        Pid(number)
    }
}

/// As [`std::process::id`] and [`std::process::Child::id`] have it.
impl From<u32> for Pid {
    fn from(number: u32) -> Pid {
        Pid(number as i32)
    }
}

/// The text of `/proc/PID/NAME`, what isn't UTF-8 replaced.
///
/// # Errors
/// ENOENT: no such process. EACCES: it is another user's. The message names the path.
pub(crate) fn read(pid: i32, name: &str) -> io::Result<String> {
    let path = format!("/proc/{pid}/{name}");
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(at(path, error)),
    }
}

/// The names in the directory `/proc/PID/NAME`.
pub(crate) fn list(pid: i32, name: &str) -> io::Result<Vec<String>> {
    let path = format!("/proc/{pid}/{name}");
    let names = fs::read_dir(&path).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    });
    names.map_err(|error| at(path, error))
}

/// Where the link `/proc/PID/NAME` leads.
pub(crate) fn link(pid: i32, name: &str) -> io::Result<String> {
    let path = format!("/proc/{pid}/{name}");
    match fs::read_link(&path) {
        Ok(target) => Ok(target.to_string_lossy().into_owned()),
        Err(error) => Err(at(path, error)),
    }
}

/// The value of a line "Key:\tvalue" of a file as `/proc/PID/status`.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == key).then(|| value.trim())
    })
}

/// The same error, with the path it is about; [`Error::source`] has the errno.
fn at(path: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), At { path, source })
}

#[derive(Debug)]
struct At {
    path: String,
    source: io::Error,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.source)
    }
}

impl Error for At {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_process_is_named_and_the_errno_survives() {
        let error = read(i32::MAX, "status").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with("/proc/2147483647/status: "), "{text}");
        let source = error.get_ref().and_then(|at| at.source()).unwrap();
        let errno = source.downcast_ref::<io::Error>().unwrap().raw_os_error();
        assert_eq!(errno, Some(libc::ENOENT));
    }

    #[test]
    fn values_of_a_status_file() {
        let text = "Name:\tcat\nSigBlk:\t0000000000000001\n";
        assert_eq!(value(text, "SigBlk"), Some("0000000000000001"));
        assert_eq!(value(text, "Sig"), None);
    }
}
