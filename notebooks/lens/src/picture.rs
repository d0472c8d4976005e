//! How does a value show itself in a notebook?
//!
//! evcxr looks at a cell's last expression for a method `evcxr_display` and calls it. What that prints between two
//! marks on standard output becomes the cell's output, one block a MIME type. The front end takes the richest it can
//! show; nbconvert to text, a terminal and a screen reader take `text/plain`.

use std::fmt;
use std::io::{self, Write};

/// Something to look at, and the same as text.
#[derive(Clone)]
pub struct Picture {
    title: String,
    text: String,
    svg: String,
    html: String,
}

impl Picture {
    /// `html` is what a notebook shows: most often the SVG, a table, or one above the other.
    pub(crate) fn new(title: String, text: String, svg: String, html: String) -> Picture {
        Picture {
            title,
            text,
            svg,
            html,
        }
    }

    /// One line: what this shows, and of whom.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The plain-text alternative. It ends with a newline.
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// One `<svg>` element with `role="img"`, a title and a description, without ids.
    pub fn svg(&self) -> String {
        self.svg.clone()
    }

    /// One `<div>` element.
    pub fn html(&self) -> String {
        self.html.clone()
    }

    /// Shows it now, in the middle of a cell.
    pub fn show(&self) {
        show(&self.blocks());
    }

    /// Shows it as the output of a cell: evcxr calls this.
    pub fn evcxr_display(&self) {
        self.show();
    }

    /// Shows it in the place of what was shown under this name before: a picture that moves.
    pub fn show_as(&self, name: &str) {
        let named = format!("EVCXR_BEGIN_CONTENT syslab/display_id\n{name}\nEVCXR_END_CONTENT\n");
        show(&(self.blocks() + &named));
    }

    fn blocks(&self) -> String {
        format!(
            "EVCXR_BEGIN_CONTENT text/plain\n{}EVCXR_END_CONTENT\n\
             EVCXR_BEGIN_CONTENT text/html\n{}\nEVCXR_END_CONTENT\n",
            self.text, self.html
        )
    }
}

/// Takes away what the cell has shown so far; `wait`: not before there is something new.
pub fn clear_output(wait: bool) {
    let how = if wait { "wait" } else { "now" };
    show(&format!(
        "EVCXR_BEGIN_CONTENT syslab/clear_output\n{how}\nEVCXR_END_CONTENT\n"
    ));
}

fn show(blocks: &str) {
    let mut stdout = io::stdout().lock();
    // A cell may have closed its standard output: then nobody is there to see an error either.
    let _ = stdout
        .write_all(blocks.as_bytes())
        .and_then(|()| stdout.flush());
}

/// The text.
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}
