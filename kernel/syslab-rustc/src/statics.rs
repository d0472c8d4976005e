//! How is a `static` one for all cells?
//!
//! evcxr compiles every item again into each cell's library, so that each would have a static of its own: a signal
//! handler that one cell has installed would set a flag that no other cell reads. With an exported name the dynamic
//! linker takes the first one that was loaded, for all. A static that is defined anew, with another type or another
//! initial value, gets another name; so does one whose type has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use proc_macro2::{LineColumn, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, ItemFn, ItemStatic};

/// Text to be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// The line, from 1.
    pub line: usize,
    /// Before which character of it, from 0.
    pub column: usize,
    /// What.
    pub text: String,
}

/// An attribute for every static of a cell's text, nothing where it can't be parsed (rustc says why).
pub fn export_names(text: &str) -> Vec<Insertion> {
    let Ok(file) = syn::parse_file(text) else {
        return Vec::new();
    };
    let definitions = definitions(&file.items);
    let mut finder = Finder {
        definitions: &definitions,
        path: String::new(),
        found: Vec::new(),
    };
    finder.visit_file(&file);
    finder.found
}

/// Types and constants by name, as text: what a static's meaning depends on.
fn definitions(items: &[Item]) -> BTreeMap<String, String> {
    let text = |item: &dyn quote::ToTokens| item.to_token_stream().to_string();
    let named = items.iter().filter_map(|item| match item {
        Item::Struct(it) => Some((it.ident.to_string(), text(it))),
        Item::Enum(it) => Some((it.ident.to_string(), text(it))),
        Item::Union(it) => Some((it.ident.to_string(), text(it))),
        Item::Type(it) => Some((it.ident.to_string(), text(it))),
        Item::Const(it) => Some((it.ident.to_string(), text(it))),
        _ => None,
    });
    named.collect()
}

struct Finder<'a> {
    definitions: &'a BTreeMap<String, String>,
    /// The functions around.
    path: String,
    found: Vec<Insertion>,
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        let name = function.sig.ident.to_string();
        // A static in the statements of a cell is that cell's own.
        if !name.starts_with("run_user_code_") {
            let before = self.path.len();
            self.path += &format!("{name}.");
            visit::visit_item_fn(self, function);
            self.path.truncate(before);
        }
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        let names = ["export_name", "no_mangle", "thread_local", "link_section"];
        let named = item.attrs.iter().any(|attribute| {
            let text = quote::ToTokens::to_token_stream(attribute).to_string();
            names.iter().any(|name| text.contains(name))
        });
        if named {
            return;
        }
        let LineColumn { line, column } = start(item);
        let name = format!(
            "syslab.{}{}.{:016x}",
            self.path,
            item.ident,
            self.meaning(item)
        );
        self.found.push(Insertion {
            line,
            column,
            text: format!("#[unsafe(export_name = \"{name}\")] "),
        });
    }
}

/// Where the item begins after its attributes.
fn start(item: &ItemStatic) -> LineColumn {
    match &item.vis {
        syn::Visibility::Inherited => item.static_token.span().start(),
        visible => visible.span().start(),
    }
}

impl Finder<'_> {
    /// A number for everything that the static's bytes depend on.
    fn meaning(&self, item: &ItemStatic) -> u64 {
        let mut hasher = DefaultHasher::new();
        let text = quote::ToTokens::to_token_stream(item);
        text.to_string().hash(&mut hasher);
        let mut seen = BTreeSet::new();
        self.depends(text, &mut seen, &mut hasher);
        hasher.finish()
    }

    fn depends(
        &self,
        tokens: TokenStream,
        seen: &mut BTreeSet<String>,
        hasher: &mut DefaultHasher,
    ) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.depends(group.stream(), seen, hasher),
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    if let Some(text) = self.definitions.get(&name)
                        && seen.insert(name)
                    {
                        text.hash(hasher);
                        if let Ok(tokens) = text.parse() {
                            self.depends(tokens, seen, hasher);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        export_names(text)
            .into_iter()
            .map(|insertion| insertion.text)
            .collect()
    }

    #[test]
    fn the_same_static_has_the_same_name() {
        let one = "static A: AtomicU32 = AtomicU32::new(0);";
        assert_eq!(names(one), names(&format!("fn f() {{}}\n{one}")));
        assert_ne!(
            names(one),
            names("static A: AtomicU32 = AtomicU32::new(1);")
        );
        assert_ne!(
            names(one),
            names("static B: AtomicU32 = AtomicU32::new(0);")
        );
    }

    #[test]
    fn another_type_is_another_static() {
        let with = |fields: &str| {
            format!("struct P {{ {fields} }} struct Q(P); static A: Option<Q> = None;")
        };
        assert_eq!(names(&with("x: u8")), names(&with("x: u8")));
        assert_ne!(names(&with("x: u8")), names(&with("x: u16")));
    }

    #[test]
    fn the_place_is_before_the_item() {
        let found = export_names("fn a() {}\n  pub static A: u8 = 0; /* é */ static B: u8 = 1;");
        assert_eq!(
            found
                .iter()
                .map(|it| (it.line, it.column))
                .collect::<Vec<_>>(),
            [(2, 2), (2, 32)]
        );
    }

    #[test]
    fn statics_of_functions_count_and_those_of_cells_do_not() {
        let of = |name: &str| names(&format!("fn {name}() {{ static A: u8 = 0; }}")).len();
        assert_eq!((of("f"), of("run_user_code_3")), (1, 0));
        assert_ne!(
            names("fn f() { static A: u8 = 0; }"),
            names("fn g() { static A: u8 = 0; }")
        );
    }

    #[test]
    fn what_has_a_name_keeps_it() {
        assert!(names("#[unsafe(no_mangle)] static A: u8 = 0;").is_empty());
        assert!(names("this is no rust").is_empty());
    }
}
