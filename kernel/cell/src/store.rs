//! Where are the variables between two cells?
//!
//! The generated code of a cell takes its variables out by name and type, and puts them back at its end; this is the
//! interface that evcxr generates calls of.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use crate::note;

/// Variables by name.
#[derive(Default)]
pub struct VariableStore {
    variables: HashMap<String, Box<dyn Any>>,
}

impl VariableStore {
    /// Keeps a variable.
    pub fn put_variable<T: 'static>(&mut self, name: &str, value: T) {
        self.put(name, Box::new(value));
    }

    /// Whether the variable, if it is there, still has the type that the cell was compiled for.
    pub fn check_variable<T: 'static>(&mut self, name: &str) -> bool {
        self.check(name, TypeId::of::<T>())
    }

    /// Takes a variable out.
    ///
    /// # Panics
    /// If it isn't there with this type, which [`check_variable`](Self::check_variable) has excluded.
    pub fn take_variable<T: 'static>(&mut self, name: &str) -> T {
        match self.take(name).downcast() {
            Ok(value) => *value,
            Err(_) => wrong_type(name),
        }
    }

    // What does not depend on the type is compiled once, here, rather than in every cell.

    #[inline(never)]
    fn put(&mut self, name: &str, value: Box<dyn Any>) {
        self.variables.insert(name.to_owned(), value);
    }

    #[inline(never)]
    fn check(&mut self, name: &str, wanted: TypeId) -> bool {
        let found = self.variables.get(name);
        let fits = found.is_none_or(|value| (**value).type_id() == wanted);
        if !fits {
            note::tell(note::VARIABLE_LOST, name);
        }
        fits
    }

    #[inline(never)]
    fn take(&mut self, name: &str) -> Box<dyn Any> {
        let value = self.variables.remove(name);
        value.unwrap_or_else(|| panic!("the variable `{name}` is not there"))
    }

    /// Something that all cells share, made by the first that asks.
    ///
    /// # Panics
    /// If it was made with another type.
    pub fn lazy_arc<T: 'static, F: FnOnce() -> T>(&mut self, name: &str, create: F) -> Arc<T> {
        let value = self
            .variables
            .entry(name.to_owned())
            .or_insert_with(|| Box::new(Arc::new(create())));
        Arc::clone(value.downcast_ref().expect("made with this type"))
    }

    /// Takes over what another store holds.
    pub fn merge(&mut self, mut other: VariableStore) {
        self.variables.extend(other.variables.drain());
    }
}

/// A store without variables, for the process to keep.
pub fn create_variable_store() -> *mut VariableStore {
    Box::into_raw(Box::default())
}

#[cold]
#[inline(never)]
fn wrong_type(name: &str) -> ! {
    panic!("the variable `{name}` has another type")
}
