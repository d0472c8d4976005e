//! What a closure borrows survives threads that the exercise makes.

use observe::Child;

#[test]
fn threads_of_the_exercise_leave_the_closure_alone() {
    // Not the main thread, whose stack nobody takes.
    let test = std::thread::spawn(|| {
        let borrowed = [7_u64; 1024];
        let run = Child::new().run(|| {
            let threads: Vec<_> = (0..32).map(|_| std::thread::spawn(|| dirty(512))).collect();
            for thread in threads {
                thread.join().unwrap();
            }
            borrowed.iter().filter(|word| **word == 7).count()
        });
        assert_eq!(run.returned(), borrowed.len());
    });
    test.join().unwrap();
}

/// Writes so many KiB of stack.
fn dirty(kib: usize) {
    std::hint::black_box([0xff_u8; 1024]);
    if kib > 0 {
        dirty(kib - 1);
    }
}
