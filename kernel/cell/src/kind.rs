//! Which kinds of notes are there? The cell process reads this file, too.

/// The cell panicked out of its end.
pub(crate) const PANICKED: u32 = 1;
/// A variable is lost, because its type was defined anew: its name.
pub(crate) const VARIABLE_LOST: u32 = 2;
/// A `?` ended the cell: the error.
pub(crate) const QUESTION_MARK: u32 = 3;
/// A panic began: file, line and message, each ended by a newline.
pub(crate) const PANIC: u32 = 4;
/// The value of the last expression: its MIME type, a newline, its content.
pub(crate) const VALUE: u32 = 5;
/// Something worth saying; the cell process itself says it.
#[allow(dead_code)]
pub(crate) const REMARK: u32 = 6;
