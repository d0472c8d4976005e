//! How another process's memory is read: by `process_vm_readv(2)`, one call for most strings, never asking for a
//! byte beyond a page that may not be mapped.

/// Pages are at least this large everywhere; a smaller step than the real page is only more careful.
const PAGE: u64 = 4096;

/// Longest string that is read: PATH_MAX.
const LONGEST: usize = 4096;

/// Reads up to `length` bytes at `address`; fewer if what follows isn't readable, none if nothing is.
pub(crate) fn bytes(tid: i32, address: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let got = read(tid, address, &mut data);
    data.truncate(got);
    data
}

/// Reads an array of `N` native words.
pub(crate) fn words<const N: usize>(tid: i32, address: u64) -> Option<[u64; N]> {
    let data = bytes(tid, address, N * 8);
    let mut words = [0; N];
    if data.len() < N * 8 {
        return None;
    }
    for (word, chunk) in words.iter_mut().zip(data.chunks_exact(8)) {
        *word = u64::from_ne_bytes(chunk.try_into().ok()?);
    }
    Some(words)
}

/// Reads one `int`.
pub(crate) fn int(tid: i32, address: u64) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes(tid, address, 4).try_into().ok()?))
}

/// Reads the NUL-terminated string at `address`, up to PATH_MAX bytes; invalid UTF-8 is shown lossily.
pub(crate) fn string(tid: i32, address: u64) -> Option<String> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 256];
    while text.len() < LONGEST {
        let at = address.wrapping_add(text.len() as u64);
        let to_page_end = (PAGE - at % PAGE) as usize;
        let step = to_page_end.min(buffer.len());
        let got = read(tid, at, &mut buffer[..step]);
        if got == 0 {
            return None;
        }
        if let Some(end) = buffer[..got].iter().position(|&byte| byte == 0) {
            text.extend_from_slice(&buffer[..end]);
            return Some(match String::from_utf8(text) {
                Ok(text) => text,
                Err(broken) => String::from_utf8_lossy(broken.as_bytes()).into_owned(),
            });
        }
        text.extend_from_slice(&buffer[..got]);
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// One `process_vm_readv(2)`; how many bytes came. It transfers whole iovecs or stops at the first that it can't:
/// the first page is one of its own, so that an unmapped second page costs only what lies in it.
fn read(tid: i32, address: u64, buffer: &mut [u8]) -> usize {
    if buffer.is_empty() || address == 0 {
        return 0;
    }
    let first = buffer.len().min((PAGE - address % PAGE) as usize);
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let part = |offset: usize, length| libc::iovec {
        iov_base: address.wrapping_add(offset as u64) as *mut libc::c_void,
        iov_len: length,
    };
    let remote = [part(0, first), part(first, buffer.len() - first)];
    let parts = if first < buffer.len() { 2 } else { 1 };
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is ours until the call returns;
    // the remote addresses are only numbers to us.
    let got =
        unsafe { libc::process_vm_readv(tid, &raw const local, 1, remote.as_ptr(), parts, 0) };
    usize::try_from(got).unwrap_or(0)
}
