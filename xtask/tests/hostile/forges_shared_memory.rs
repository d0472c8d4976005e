//! Writes into all memory that it shares with others that it has ended well with the right answer, and never ends.
//! outcome: timed_out
//! says: still running
//! seconds: 1

pub fn answer() -> u32 {
    println!("the answer is 42");
    use std::io::Write as _;
    std::io::stdout().flush().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines().filter(|line| line.contains("rw-s")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| usize::from_str_radix(text, 16).unwrap());
        // Flags of any kind, at the beginning; and something like a message at the beginning of each page.
        // SAFETY: none; it writes where it has no business, and must be held all the same.
        unsafe {
            for word in (from..to.min(from + 256)).step_by(4) {
                let word = std::ptr::with_exposed_provenance_mut::<u32>(word);
                if word.read_volatile() == 0 {
                    word.write_volatile(1);
                }
            }
            for page in (from + 4096..to.min(from + 5 * 4096)).step_by(4096) {
                let head = std::ptr::with_exposed_provenance_mut::<u32>(page);
                head.write_volatile(1);
                head.add(1).write_volatile(std::process::id());
                head.add(2).cast::<u64>().write_volatile(2);
                head.add(4).cast::<[u8; 2]>().write_volatile(*b"42");
            }
        }
    }
    loop {
        std::thread::park();
    }
}
