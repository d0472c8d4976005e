//! What the six registers mean: what the call is given is read at its entry, what it gives at its exit.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::Arg;
use crate::flags;
use crate::memory;
use crate::table::Kind;

/// How much is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// Bytes of a buffer that are kept.
    pub(crate) bytes: usize,
    /// Whether descriptors are looked up in `/proc`.
    pub(crate) targets: bool,
}

/// Strings of an argv that are kept.
const STRINGS: usize = 16;
/// Iovecs that are looked into.
const VECTORS: u64 = 16;

/// The arguments at entry; those that the kernel fills are still pointers.
pub(crate) fn entry(tid: i32, kinds: &[Kind], args: &[u64; 6], depth: Depth) -> Vec<Arg> {
    let shown = match kinds {
        [before @ .., Kind::CreateMode] if !makes_file(args[before.len() - 1]) => before,
        [before @ .., Kind::FcntlArg] if takes_nothing(args[1]) => before,
        all => all,
    };
    shown
        .iter()
        .zip(args)
        .map(|(kind, &value)| given(tid, *kind, value, args, depth))
        .collect()
}

fn makes_file(open_flags: u64) -> bool {
    let flags = open_flags as i32;
    flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
}

fn takes_nothing(fcntl: u64) -> bool {
    matches!(
        fcntl as i32,
        libc::F_GETFD | libc::F_GETFL | libc::F_GETOWN | libc::F_GETPIPE_SZ | libc::F_GET_SEALS
    )
}

/// Fills in what the kernel gave.
pub(crate) fn exit(
    tid: i32,
    kinds: &[Kind],
    args: &[u64; 6],
    result: i64,
    decoded: &mut [Arg],
    depth: Depth,
) {
    for ((kind, &value), arg) in kinds.iter().zip(args).zip(decoded) {
        if let Some(filled) = filled(tid, *kind, value, args, result, depth) {
            *arg = filled;
        }
    }
}

fn given(tid: i32, kind: Kind, value: u64, args: &[u64; 6], depth: Depth) -> Arg {
    let read = match kind {
        Kind::Int => return Arg::Int(i64::from(value as i32)),
        Kind::Offset => return Arg::Int(value as i64),
        Kind::Size => return Arg::Size(value),
        Kind::FcntlArg => return fcntl_arg(args[1], value),
        Kind::Mode | Kind::CreateMode => return Arg::Mode(value as u32),
        Kind::Fd => {
            return Arg::Fd {
                fd: value as i32,
                target: depth.targets.then(|| target(tid, value)).flatten(),
            };
        }
        Kind::Signal => return Arg::Signal(flags::signal_name(value as i32)),
        // Flags are ints; some callers leave rubbish in the upper half of the register.
        Kind::Flags(names) => return Arg::Flags(names.text(value & 0xffff_ffff)),
        Kind::Path => memory::string(tid, value).map(Arg::Path),
        Kind::Argv => strings(tid, value).map(Arg::Strings),
        Kind::Signals => memory::words::<1>(tid, value).map(|[set]| Arg::Signals(signals(set))),
        Kind::Action => {
            memory::words::<2>(tid, value).map(|[handler, flags]| action(handler, flags))
        }
        Kind::Time => memory::words::<2>(tid, value).map(|[seconds, nanoseconds]| {
            Arg::Time(Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32))
        }),
        Kind::In(length) => buffer(tid, value, args[length], depth),
        Kind::AddressIn(length) => {
            address(&memory::bytes(tid, value, (args[length] as usize).min(128)))
        }
        Kind::OpenHow => {
            memory::words::<3>(tid, value).map(|[how, ..]| Arg::Flags(flags::OPEN.text(how)))
        }
        Kind::CloneArgs => {
            clone_flags(tid, value).map(|flags| Arg::Flags(flags::CLONE.text(flags)))
        }
        Kind::Vectors(count) => vectors(tid, value, args[count], u64::MAX, depth),
        Kind::Address | Kind::Out | Kind::AddressOut(_) | Kind::Pair | Kind::Wait => None,
    };
    read.unwrap_or(Arg::Address(value))
}

fn filled(
    tid: i32,
    kind: Kind,
    value: u64,
    args: &[u64; 6],
    result: i64,
    depth: Depth,
) -> Option<Arg> {
    match kind {
        Kind::Out => buffer(tid, value, u64::try_from(result).ok()?, depth),
        Kind::Vectors(count) => {
            vectors(tid, value, args[count], u64::try_from(result).ok()?, depth)
        }
        Kind::AddressOut(length) => {
            let length = usize::try_from(memory::int(tid, args[length])?).ok()?;
            address(&memory::bytes(tid, value, length.min(128)))
        }
        Kind::Pair => memory::int(tid, value)
            .zip(memory::int(tid, value + 4))
            .map(|(a, b)| Arg::Pair(a, b)),
        Kind::Wait if result > 0 => Some(Arg::Wait(wait_status(memory::int(tid, value)?))),
        _ => None,
    }
}

fn fcntl_arg(command: u64, value: u64) -> Arg {
    match command as i32 {
        libc::F_SETFD => Arg::Flags(flags::FD.text(value)),
        libc::F_SETFL => Arg::Flags(flags::OPEN.text(value)),
        libc::F_GETLK
        | libc::F_SETLK
        | libc::F_SETLKW
        | libc::F_OFD_GETLK
        | libc::F_OFD_SETLK
        | libc::F_OFD_SETLKW => Arg::Address(value),
        _ => Arg::Int(value as i64),
    }
}

/// The flags in `struct clone_args`, with the exit signal where `clone(2)` has it.
pub(crate) fn clone_flags(tid: i32, address: u64) -> Option<u64> {
    let [flags, _pidfd, _child_tid, _parent_tid, exit_signal] = memory::words(tid, address)?;
    Some(flags | exit_signal & 0xff)
}

fn buffer(tid: i32, address: u64, length: u64, depth: Depth) -> Option<Arg> {
    let wanted = length.min(depth.bytes as u64) as usize;
    let start = memory::bytes(tid, address, wanted);
    (start.len() == wanted).then_some(Arg::Bytes { start, length })
}

/// The bytes behind iovecs, at most `limit` of them.
fn vectors(tid: i32, address: u64, count: u64, limit: u64, depth: Depth) -> Option<Arg> {
    let mut start = Vec::new();
    let mut length = 0;
    for index in 0..count.min(VECTORS) {
        let [base, part] = memory::words(tid, address + index * 16)?;
        let part = part.min(limit - length);
        let wanted = part.min((depth.bytes - start.len()) as u64) as usize;
        start.extend(memory::bytes(tid, base, wanted));
        length += part;
    }
    Some(Arg::Bytes { start, length })
}

fn strings(tid: i32, mut address: u64) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    while strings.len() < STRINGS {
        let [pointer] = memory::words(tid, address)?;
        if pointer == 0 {
            break;
        }
        strings.push(memory::string(tid, pointer)?);
        address += 8;
    }
    Some(strings)
}

fn signals(set: u64) -> Vec<&'static str> {
    (1..=64)
        .filter(|signal| set >> (signal - 1) & 1 == 1)
        .map(flags::signal_name)
        .collect()
}

fn action(handler: u64, bits: u64) -> Arg {
    // The kernel's own flag for the trampoline that libc installs: no choice of the program's.
    const SA_RESTORER: u64 = 0x0400_0000;
    let handler = match handler as libc::sighandler_t {
        libc::SIG_DFL => "SIG_DFL",
        libc::SIG_IGN => "SIG_IGN",
        _ => "handler",
    };
    match bits & !SA_RESTORER {
        0 => Arg::Flags(handler.into()),
        bits => Arg::Flags(format!("{handler}, {}", flags::SIGACTION.text(bits)).into()),
    }
}

fn wait_status(word: i32) -> String {
    if libc::WIFSTOPPED(word) {
        format!("stopped by {}", flags::signal_name(libc::WSTOPSIG(word)))
    } else if libc::WIFCONTINUED(word) {
        "continued".to_owned()
    } else {
        crate::Status::of(word).map_or_else(|| format!("{word:#x}"), |status| status.to_string())
    }
}

fn target(tid: i32, fd: u64) -> Option<String> {
    let fd = u32::try_from(fd as i32).ok()?;
    let target = std::fs::read_link(format!("/proc/{tid}/fd/{fd}")).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// `struct sockaddr` of the families in use here; others by number.
fn address(raw: &[u8]) -> Option<Arg> {
    let family = u16::from_ne_bytes(raw.get(..2)?.try_into().ok()?);
    let port = || Some(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?));
    Some(Arg::Sockaddr(match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = raw.get(4..8)?.try_into().ok()?;
            SocketAddrV4::new(Ipv4Addr::from(ip), port()?).to_string()
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = raw.get(8..24)?.try_into().ok()?;
            SocketAddrV6::new(Ipv6Addr::from(ip), port()?, 0, 0).to_string()
        }
        libc::AF_UNIX => match &raw[2..] {
            [] => "unix, unnamed".to_owned(),
            [0, name @ ..] => format!("unix:@{}", name.escape_ascii()),
            path => {
                let end = path
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(path.len());
                format!("unix:{}", String::from_utf8_lossy(&path[..end]))
            }
        },
        libc::AF_NETLINK => "netlink".to_owned(),
        libc::AF_PACKET => "packet".to_owned(),
        other => format!("family {other}"),
    }))
}
