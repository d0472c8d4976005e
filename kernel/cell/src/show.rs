//! How is a value shown that has no way of its own?
//!
//! A cell's last expression is shown by a method `evcxr_display`, if its type has one. This trait gives one to every
//! type with `Debug`; an inherent method comes before it. Without it the compiler would have to run twice.

use std::any::type_name;
use std::fmt::Debug;

use crate::note;

/// `evcxr_display` for whatever has `Debug`.
pub trait ShowDebug: Debug {
    /// Shows the value as `{:?}` does; `()` is nothing to show.
    fn evcxr_display(&self) {
        if type_name::<Self>() != "()" {
            plain(&format!("{self:?}"));
        }
    }
}

impl<T: Debug + ?Sized> ShowDebug for T {}

/// `evcxr_display` for whatever has none: an error that says what the type lacks.
pub trait LacksDebug {
    /// Never called: a method with `&self`, such as that of [`ShowDebug`], comes before one with `&mut self`.
    fn evcxr_display(&mut self)
    where
        Self: Debug,
    {
    }
}

impl<T: ?Sized> LacksDebug for T {}

/// Shows a value whose `evcxr_display` did not compile, maybe for the sake of another error in its cell.
///
/// It stands where evcxr asks for `Debug` whatever else the value has, and takes what it finds between the parentheses.
#[macro_export]
macro_rules! show_again {
    ((&($value:expr))) => {
        $value.evcxr_display()
    };
}

/// As [`show_again`](crate::show_again), of a value whose type is not known early enough for a method: that of one
/// that never comes.
#[macro_export]
macro_rules! debug_again {
    ((&($value:expr))) => {
        $crate::ShowDebug::evcxr_display(&$value)
    };
}

/// Shows plain text as the value of the cell.
pub fn plain(text: &str) {
    content("text/plain", text);
}

/// Shows something as the value of the cell; of several MIME types the front end takes the richest.
pub fn content(mime: &str, text: &str) {
    note::tell(note::VALUE, &format!("{mime}\n{text}"));
}
