//! What does a log look like, byte by byte?

/// What a log begins with.
pub const MAGIC: &[u8] = b"kvlog 1\n";

/// A key and its new value, none to remove it.
pub type Line = (Vec<u8>, Option<Vec<u8>>);

/// A log of these commits, and where each of them ends.
pub fn log(commits: &[Vec<Line>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = MAGIC.to_vec();
    let mut ends = Vec::new();
    for commit in commits {
        bytes.extend(record(bytes.len(), commit));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// One commit, as it lies at the offset `at`.
pub fn record(at: usize, lines: &[Line]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in lines {
        let length = value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
        body.extend((key.len() as u32).to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(key);
        body.extend(value.iter().flatten());
    }
    let mut record = (at as u64).to_le_bytes().to_vec();
    record.extend((body.len() as u32).to_le_bytes());
    record.extend(crc(&[&record[..], &body].concat()).to_le_bytes());
    record.extend(body);
    record
}

/// The records of a log in words.
pub fn told(log: &[u8]) -> Vec<String> {
    records(log)
        .map(|(at, lines, _)| format!("at {at}: {}", lines.join(", ")))
        .collect()
}

/// How many bytes at its end are no whole record.
pub fn torn(log: &[u8]) -> usize {
    let end = records(log).map(|(.., end)| end).last();
    log.len() - end.unwrap_or(MAGIC.len()).min(log.len())
}

/// Where each record begins, what it says, and where it ends.
fn records(log: &[u8]) -> impl Iterator<Item = (usize, Vec<String>, usize)> {
    let mut at = MAGIC.len();
    std::iter::from_fn(move || {
        let begin = at;
        let (lines, length) = whole(log.get(begin..)?, begin)?;
        at += length;
        Some((begin, lines, at))
    })
}

fn whole(log: &[u8], at: usize) -> Option<(Vec<String>, usize)> {
    let number = |from: usize| {
        Some(u32::from_le_bytes(
            log.get(from..from + 4)?.try_into().ok()?,
        ))
    };
    let end = 16 + number(8)? as usize;
    let body = log.get(16..end)?;
    let holds = log.starts_with(&(at as u64).to_le_bytes())
        && number(12)? == crc(&[&log[..12], body].concat());
    let mut lines = Vec::new();
    let mut from = 16;
    while holds && from < end {
        let key_end = from + 8 + number(from)? as usize;
        let key = log.get(from + 8..key_end)?.escape_ascii();
        let length = number(from + 4)?;
        from = key_end;
        lines.push(if length == u32::MAX {
            format!("remove {key}")
        } else {
            from += length as usize;
            format!("{key} = {}", log.get(key_end..from)?.escape_ascii())
        });
    }
    holds.then_some((lines, end))
}

/// CRC-32 as the polynomial says it, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}
