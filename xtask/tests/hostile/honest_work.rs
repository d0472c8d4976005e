//! Uses what a learner may use: forks, threads, files in several folders below TMPDIR, a pseudoterminal, loopback, signals to its own.
//! outcome: passed

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

pub fn answer() -> u32 {
    let folder = std::env::temp_dir().join("work");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("file");
    std::fs::write(folder.with_file_name("elsewhere"), "20").unwrap();
    std::fs::rename(folder.with_file_name("elsewhere"), &file).unwrap();
    std::fs::hard_link(&file, folder.with_file_name("link")).unwrap();
    // SAFETY: forks in a process of one thread; the pid is that of the child just made.
    let status = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::pause();
            libc::_exit(0);
        }
        libc::kill(pid, libc::SIGTERM);
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        status
    };
    assert!(libc::WIFSIGNALED(status), "its child was not ended by its signal");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        TcpStream::connect(address).unwrap().write_all(b"22").unwrap();
    });
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    client.join().unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    nix::unistd::write(&terminal.slave, b"x").unwrap();
    let sum = std::fs::read_to_string(&file).unwrap().parse::<u32>().unwrap() + text.parse::<u32>().unwrap();
    std::fs::remove_file(folder.with_file_name("link")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    println!("the answer is {sum}");
    sum
}
