//! What did a cell leave in the page, and how is it said to evcxr and to the kernel?

use std::collections::BTreeMap;

use link::{End, Panic};

use crate::page::note;

/// What a cell left in the page.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) panicked: bool,
    /// All that the main thread has seen; the last may have ended the cell.
    pub(super) panics: Vec<Panic>,
    pub(super) question_mark: Option<String>,
    pub(super) lost: Vec<String>,
    pub(super) value: BTreeMap<String, String>,
    pub(super) remarks: Vec<String>,
}

impl Notes {
    pub(super) fn of(notes: Vec<(u32, Vec<u8>)>) -> Notes {
        let mut all = Notes::default();
        for (kind, bytes) in notes {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match kind {
                note::PANICKED => all.panicked = true,
                note::VARIABLE_LOST => all.lost.push(text),
                note::QUESTION_MARK => all.question_mark = Some(text),
                note::PANIC => {
                    let mut parts = text.splitn(3, '\n');
                    let mut part = || parts.next().unwrap_or_default().to_owned();
                    let (file, line, message) = (part(), part(), part());
                    all.panics.push(Panic {
                        message,
                        file,
                        line: line.parse().unwrap_or_default(),
                    });
                }
                note::VALUE => {
                    if let Some((mime, content)) = text.split_once('\n') {
                        all.value.insert(mime.to_owned(), content.to_owned());
                    }
                }
                note::REMARK => all.remarks.push(text),
                _ => {}
            }
        }
        all
    }

    /// In evcxr's own words (`evcxr_internal_runtime.rs`).
    pub(super) fn for_evcxr(&self) -> Vec<u8> {
        let mut lines = String::new();
        if self.panicked {
            lines += "EVCXR_PANIC_NOTIFICATION\n";
        }
        if self.question_mark.is_some() {
            lines += "EVCXR_ERROR_OCCURRED\n";
        }
        for name in self.lost.iter().filter(|name| !name.contains('\n')) {
            lines += &format!("EVCXR_VARIABLE_CHANGED_TYPE:{name}\n");
        }
        lines += "EVCXR_EXECUTION_COMPLETE\n";
        lines.into_bytes()
    }

    pub(super) fn end(mut self) -> End {
        let unsaid = || Panic {
            message:
                "a panic; a cell has set a panic hook of its own, which alone knows the message"
                    .into(),
            ..Panic::default()
        };
        let panic = self
            .panicked
            .then(|| self.panics.pop().unwrap_or_else(unsaid));
        let lost = self.lost.into_iter().map(|name| {
            format!("the variable `{name}` is lost: its type is another one now, or has no name")
        });
        let caught = self
            .panics
            .into_iter()
            .map(|panic| format!("thread 'main' panicked, and went on: {}", panic.message));
        End::Finished {
            value: self.value,
            panic,
            question_mark: self.question_mark,
            remarks: caught.chain(lost).chain(self.remarks).collect(),
        }
    }
}
