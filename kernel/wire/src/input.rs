//! Who waits for a line from the front end?
//!
//! A front end shows one prompt at a time, so threads that ask at once take turns. A reply is for the one whose turn
//! it is, if it comes from the front end that was asked and doesn't name another question: one that was answered
//! after an interrupt had taken it back must not become the answer to the next. Old front ends name none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex};

use bytes::Bytes;

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The front end said that it can't be asked (`allow_stdin`), or the cell is over.
    StdinNotAllowed,
    /// The cell was interrupted or ended while it waited.
    Cancelled,
    /// The front end that ran the cell has no stdin connection.
    NotConnected,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StdinNotAllowed => "the front end does not take input",
            Self::Cancelled => "input was cancelled",
            Self::NotConnected => "the front end is gone",
        })
    }
}

impl std::error::Error for InputError {}

/// Those who wait, in the order in which they asked.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    waiting: Mutex<VecDeque<Waiting>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    cell: u64,
    question: String,
    from: Vec<Bytes>,
    answer: Option<Result<String, InputError>>,
}

impl Inputs {
    /// Waits for the turn, lets `ask` send the question (false: to nobody), and waits for the answer.
    pub(crate) fn ask(
        &self,
        cell: u64,
        question: &str,
        from: &[Bytes],
        ask: impl FnOnce() -> bool,
    ) -> Result<String, InputError> {
        let mut waiting = self.waiting.lock().unwrap();
        let ticket = waiting.back().map_or(0, |last| last.ticket + 1);
        waiting.push_back(Waiting {
            ticket,
            cell,
            question: question.into(),
            from: from.to_vec(),
            answer: None,
        });

        let mut ask = Some(ask);
        loop {
            let index = waiting.iter().position(|one| one.ticket == ticket);
            let index = index.expect("only its own thread takes an entry out");
            if let Some(answer) = waiting[index].answer.take() {
                waiting.remove(index);
                self.changed.notify_all();
                return answer;
            }
            if index == 0
                && let Some(ask) = ask.take()
            {
                drop(waiting);
                let asked = ask();
                waiting = self.waiting.lock().unwrap();
                if !asked {
                    waiting[0]
                        .answer
                        .get_or_insert(Err(InputError::NotConnected));
                }
                continue;
            }
            waiting = self.changed.wait(waiting).unwrap();
        }
    }

    /// Hands a reply to the one whose turn it is; a late one is dropped.
    pub(crate) fn reply(&self, question: Option<&str>, from: &[Bytes], text: &str) {
        let mut waiting = self.waiting.lock().unwrap();
        if let Some(first) = waiting.front_mut()
            && first.from == from
            && question.is_none_or(|question| question == first.question)
        {
            first.answer.get_or_insert_with(|| Ok(text.into()));
            self.changed.notify_all();
        }
    }

    /// Ends the waiting of one cell's threads, or of all.
    pub(crate) fn cancel(&self, cell: Option<u64>) {
        for one in &mut *self.waiting.lock().unwrap() {
            if cell.is_none_or(|cell| cell == one.cell) {
                one.answer.get_or_insert(Err(InputError::Cancelled));
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    const CLIENT: Bytes = Bytes::from_static(b"client");

    #[test]
    fn askers_take_turns_and_strangers_are_not_heard() {
        let inputs = Arc::new(Inputs::default());
        let (asked, questions) = channel();
        let (answered, answers) = channel();
        for _ in 0..2 {
            let (inputs, asked, answered) = (inputs.clone(), asked.clone(), answered.clone());
            thread::spawn(move || {
                answered.send(inputs.ask(0, "question", &[CLIENT], || asked.send(()).is_ok()))
            });
        }
        for line in ["first", "second"] {
            questions.recv().unwrap();
            assert!(questions.try_recv().is_err());
            inputs.reply(None, &[Bytes::from_static(b"stranger")], "not this");
            inputs.reply(Some("another"), &[CLIENT], "nor this");
            inputs.reply(Some("question"), &[CLIENT], line);
            assert_eq!(answers.recv().unwrap(), Ok(line.into()));
        }
    }

    #[test]
    fn cancelling_one_cell_leaves_the_other_waiting() {
        let inputs = Arc::new(Inputs::default());
        let (answered, answers) = channel();
        let (asked, questions) = channel();
        for cell in [1, 2] {
            let (inputs, asked, answered) = (inputs.clone(), asked.clone(), answered.clone());
            thread::spawn(move || {
                let answer = inputs.ask(cell, "question", &[CLIENT], || asked.send(cell).is_ok());
                answered.send((cell, answer))
            });
        }
        let first = questions.recv().unwrap();
        inputs.cancel(Some(first));
        assert_eq!(answers.recv().unwrap(), (first, Err(InputError::Cancelled)));
        let second = questions.recv().unwrap();
        inputs.cancel(None);
        assert_eq!(
            answers.recv().unwrap(),
            (second, Err(InputError::Cancelled))
        );
    }

    #[test]
    fn question_that_can_not_be_sent_is_over() {
        let inputs = Inputs::default();
        let answer = inputs.ask(0, "question", &[CLIENT], || false);
        assert_eq!(answer, Err(InputError::NotConnected));
        assert!(inputs.waiting.lock().unwrap().is_empty());
    }
}
