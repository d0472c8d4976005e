//! What differs between x86_64 and aarch64: where a stopped thread keeps the system call's number, its arguments
//! and its result. To port, write another `imp`.

use std::io;

pub(crate) use imp::{AUDIT_ARCH, INSTRUCTION, O_LARGEFILE, set_argument, set_number, set_result};

/// At entry: the call isn't executed.
pub(crate) fn skip_call(tid: i32) -> io::Result<()> {
    set_number(tid, u64::MAX)
}

/// Whether this is a call of the architecture we know the numbers of: not that of a 32-bit program.
pub(crate) fn is_native(arch: u32, number: u64) -> bool {
    // The x32 calls of x86_64 share its architecture and set this bit.
    const X32: u64 = 0x4000_0000;
    arch == AUDIT_ARCH && number & X32 == 0
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::io;
    use crate::ptrace::{number, request};
    use std::mem::offset_of;

    use libc::user_regs_struct as Registers;

    pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;
    /// Bytes of the `syscall` instruction.
    pub(crate) const INSTRUCTION: u64 = 2;
    /// The kernel's, which glibc says is 0.
    pub(crate) const O_LARGEFILE: u64 = 0o100_000;

    /// At entry: this is the call to make. At exit: this was it, which the kernel looks at if it is to restart it.
    pub(crate) fn set_number(tid: i32, number: u64) -> io::Result<()> {
        poke(tid, offset_of!(Registers, orig_rax), number)
    }

    /// At exit: the call returns `value`.
    pub(crate) fn set_result(tid: i32, value: i64) -> io::Result<()> {
        poke(tid, offset_of!(Registers, rax), value as u64)
    }

    /// At entry: the call gets `value` as its argument `index`; at exit: the thread gets its register back.
    pub(crate) fn set_argument(tid: i32, index: usize, value: u64) -> io::Result<()> {
        let offset = [
            offset_of!(Registers, rdi),
            offset_of!(Registers, rsi),
            offset_of!(Registers, rdx),
            offset_of!(Registers, r10),
            offset_of!(Registers, r8),
            offset_of!(Registers, r9),
        ][index];
        poke(tid, offset, value)
    }

    fn poke(tid: i32, offset: usize, value: u64) -> io::Result<()> {
        request(libc::PTRACE_POKEUSER, tid, offset, number(value as usize))
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::io;
    use crate::ptrace::request;
    use std::mem::size_of;

    use libc::user_regs_struct as Registers;

    pub(crate) const AUDIT_ARCH: u32 = 0xc000_00b7;
    /// Bytes of the `svc` instruction.
    pub(crate) const INSTRUCTION: u64 = 4;
    /// The kernel's, which glibc says is 0.
    pub(crate) const O_LARGEFILE: u64 = 0o400_000;

    const NT_PRSTATUS: usize = 1;
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    /// At entry: this is the call to make. At exit: this was it, which the kernel looks at if it is to restart it.
    pub(crate) fn set_number(tid: i32, number: u64) -> io::Result<()> {
        let mut number = number as i32;
        let mut part = libc::iovec {
            iov_base: (&raw mut number).cast(),
            iov_len: size_of::<i32>(),
        };
        request(
            libc::PTRACE_SETREGSET,
            tid,
            NT_ARM_SYSTEM_CALL,
            (&raw mut part).cast(),
        )
    }

    /// At exit: the call returns `value`.
    pub(crate) fn set_result(tid: i32, value: i64) -> io::Result<()> {
        set_argument(tid, 0, value as u64)
    }

    /// At entry: the call gets `value` as its argument `index`; at exit: the thread gets its register back.
    pub(crate) fn set_argument(tid: i32, index: usize, value: u64) -> io::Result<()> {
        // SAFETY: the registers are plain numbers; all zero is a value of them.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        let mut part = libc::iovec {
            iov_base: (&raw mut registers).cast(),
            iov_len: size_of::<Registers>(),
        };
        request(
            libc::PTRACE_GETREGSET,
            tid,
            NT_PRSTATUS,
            (&raw mut part).cast(),
        )?;
        registers.regs[index] = value;
        part.iov_base = (&raw mut registers).cast();
        request(
            libc::PTRACE_SETREGSET,
            tid,
            NT_PRSTATUS,
            (&raw mut part).cast(),
        )
    }
}
