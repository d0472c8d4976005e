//! What the tests of a watch stand on: a tree that is watched in a child, and a list that its events are held against.

mod oracle;
mod world;

pub use oracle::{
    Paths, Random, Told, assert_no_failure, assert_once, assert_same, changed, list, mkdir, remove,
    rename, shown, words, write,
};
pub use world::{SHORT, World, next, paths, rest, told};
