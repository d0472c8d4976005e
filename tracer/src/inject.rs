//! How a stopped call is made to go wrong, and how the thread is put right again at its exit.
//!
//! The kernel gives every register but the result back to the program as it was at entry, and compilers rely on
//! it: what is changed for the call is restored after it.

use std::io;

use crate::tracee::Fix;
use crate::{arch, memory, ptrace};

/// At entry: the call isn't executed and will fail with this errno.
pub(crate) fn fail(tid: i32, errno: i32) -> io::Result<Fix> {
    arch::skip_call(tid)?;
    Ok(Fix::Fail(errno))
}

/// At entry: the call's byte count is at most `cap`.
pub(crate) fn shorten(tid: i32, name: &str, args: &[u64; 6], cap: u64) -> io::Result<Fix> {
    let index = match name {
        "getrandom" => 1,
        "read" | "write" | "pread64" | "pwrite64" | "recvfrom" | "sendto" => 2,
        "readv" | "writev" | "preadv" | "pwritev" | "preadv2" | "pwritev2" => {
            return shorten_vector(tid, args, cap);
        }
        "sendfile" => 3,
        "splice" | "copy_file_range" => 4,
        _ => return Ok(Fix::Nothing),
    };
    if args[index] <= cap {
        return Ok(Fix::Nothing);
    }
    arch::set_argument(tid, index, cap)?;
    Ok(Fix::Argument(index, args[index]))
}

/// Ends the array at the iovec in which the cap falls, and trims that one in the tracee's memory.
fn shorten_vector(tid: i32, args: &[u64; 6], cap: u64) -> io::Result<Fix> {
    let [_, array, count, ..] = *args;
    let mut left = cap;
    for index in 0..count.min(libc::UIO_MAXIOV as u64) {
        let address = array + index * 16 + 8;
        let Some([length]) = memory::words(tid, address) else {
            return Ok(Fix::Nothing);
        };
        if length > left {
            ptrace::poke(tid, address, left)?;
            arch::set_argument(tid, 2, index + 1)?;
            return Ok(Fix::Vector {
                argument: 2,
                value: count,
                address,
                length,
            });
        }
        left -= length;
    }
    Ok(Fix::Nothing)
}

/// "Restart me, whatever the handler asked for" (`include/linux/errno.h`).
pub(crate) const ERESTARTNOINTR: i32 = 513;

/// At entry, with a signal on its way: the call isn't executed, but made again once the handler has run.
///
/// The kernel itself does that for a call that ends with ERESTARTNOINTR: it moves the thread back to the
/// instruction before it makes the handler's frame.
pub(crate) fn again(tid: i32, number: u64) -> io::Result<Fix> {
    arch::skip_call(tid)?;
    Ok(Fix::Again(number))
}

/// At exit: undoes what was done at entry, and gives the call the result it shall have.
pub(crate) fn restore(tid: i32, fix: &Fix) -> io::Result<()> {
    match *fix {
        Fix::Nothing => Ok(()),
        Fix::Fail(errno) => arch::set_result(tid, -i64::from(errno)),
        Fix::Again(number) => {
            arch::set_number(tid, number)?;
            arch::set_result(tid, -i64::from(ERESTARTNOINTR))
        }
        Fix::Argument(index, value) => arch::set_argument(tid, index, value),
        Fix::Vector {
            argument,
            value,
            address,
            length,
        } => {
            ptrace::poke(tid, address, length)?;
            arch::set_argument(tid, argument, value)
        }
    }
}
