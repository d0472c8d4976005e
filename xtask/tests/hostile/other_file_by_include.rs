//! The same, with `include!` under another name.
//! outcome: tampered
//! says: include

use std::include as ordinary;

ordinary!("other.rs");
