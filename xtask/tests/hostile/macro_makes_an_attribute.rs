//! A macro puts an attribute together that no text shows.
//! outcome: tampered
//! says: attribute

macro_rules! with {
    ($name:ident, $text:literal, $item:item) => {
        #[$name = $text]
        $item
    };
}

with!(path, "/tmp/other.rs", mod other;);

pub fn answer() -> u32 {
    41
}
