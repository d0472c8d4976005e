//! How are shapes written, so that they read in any theme?
//!
//! Text, axes and frames take the colour of the text around the picture (`currentColor`); the background is left
//! alone. Fills are the palette of Okabe and Ito (2008), which people with any kind of colour vision can tell apart;
//! what a colour says is said in words beside it, too. There are no ids, so that no two pictures of a page can get
//! in each other's way.

use std::fmt::Write;

/// The width of a picture, in its own units; a narrower page shrinks it.
pub(crate) const WIDTH: f64 = 860.0;

/// Of one character of code, at 12 units.
const CODE_WIDTH: f64 = 7.25;

pub(crate) const ORANGE: &str = "#E69F00";
pub(crate) const SKY: &str = "#56B4E9";
pub(crate) const GREEN: &str = "#009E73";
pub(crate) const YELLOW: &str = "#F0E442";
pub(crate) const BLUE: &str = "#0072B2";
pub(crate) const VERMILION: &str = "#D55E00";
pub(crate) const PURPLE: &str = "#CC79A7";
pub(crate) const GREY: &str = "#999999";

/// Where a text is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Normal,
    Faint,
    Bold,
    Code,
    /// Code on a fill of the palette: black or white, whichever reads.
    On(&'static str),
}

/// The inside of a picture.
#[derive(Debug, Default)]
pub(crate) struct Svg {
    body: String,
}

impl Svg {
    /// A filled rectangle; `tip` shows when the mouse is over it.
    pub(crate) fn rect(&mut self, (x, y, w, h): (f64, f64, f64, f64), fill: &str, tip: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{h:.1}\" fill=\"{fill}\"",
            w.max(1.0)
        );
        self.close("rect", tip);
    }

    /// A line in the colour of the text.
    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64), opacity: f64) {
        let _ = write!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"currentColor\" \
             stroke-opacity=\"{opacity}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A line through points; `dash` is an SVG dash array, "" for a full line.
    pub(crate) fn path(&mut self, points: &[(f64, f64)], colour: &str, dash: &str) {
        let mut d = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = write!(
            self.body,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\""
        );
        if !dash.is_empty() {
            let _ = write!(self.body, " stroke-dasharray=\"{dash}\"");
        }
        self.body.push_str("/>");
    }

    /// A dot, or a ring if it isn't filled.
    pub(crate) fn dot(
        &mut self,
        (x, y): (f64, f64),
        r: f64,
        colour: &str,
        filled: bool,
        tip: &str,
    ) {
        let fill = if filled { colour } else { "none" };
        let _ = write!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" fill=\"{fill}\" stroke=\"{colour}\""
        );
        self.close("circle", tip);
    }

    /// A triangle that stands on its tip at `(x, y)`.
    pub(crate) fn pin(&mut self, (x, y): (f64, f64), colour: &str, tip: &str) {
        let _ = write!(
            self.body,
            "<path d=\"M{:.1} {:.1}h10l-5 9z\" fill=\"{colour}\" stroke=\"currentColor\" stroke-width=\".5\"",
            x - 5.0,
            y - 9.0
        );
        self.close("path", tip);
    }

    /// `y` is the base line.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: Style, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let style = match style {
            Style::Normal => "",
            Style::Faint => " fill-opacity=\".7\"",
            Style::Bold => " font-weight=\"bold\"",
            Style::Code => &format!(" xml:space=\"preserve\" style=\"{CODE}\""),
            Style::On(fill) => &format!(" style=\"{CODE};fill:{}\"", ink(fill)),
        };
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor}{style}>{}</text>",
            escape(text)
        );
    }

    /// What the picture shows, above all else.
    pub(crate) fn title(&mut self, title: &str) {
        let title = shorten(title, 112);
        self.text((0.0, 14.0), Anchor::Start, Style::Bold, &title);
    }

    /// The middle of a text that is turned to read upwards.
    pub(crate) fn text_upwards(&mut self, (x, y): (f64, f64), text: &str) {
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
            escape(text)
        );
    }

    /// Colours and what they mean, in lines from `y` on; the `y` behind them.
    pub(crate) fn legend(&mut self, x: f64, y: f64, entries: &[(&'static str, &str)]) -> f64 {
        let (mut at, mut line) = (x, y);
        for (colour, word) in entries {
            let width = 36.0 + 6.8 * width(word) as f64;
            if at + width > WIDTH && at > x {
                (at, line) = (x, line + 18.0);
            }
            self.rect((at, line + 2.0, 14.0, 11.0), colour, "");
            self.text((at + 20.0, line + 12.0), Anchor::Start, Style::Normal, word);
            at += width;
        }
        line + 22.0
    }

    /// The whole element. `description` is for those who can't see it.
    pub(crate) fn finish(self, title: &str, description: &str, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" fill=\"currentColor\" font-size=\"12\" style=\"max-width:100%;height:auto;direction:ltr;\
             font-family:var(--jp-ui-font-family, system-ui, sans-serif);{COLOUR}\"><title>{}</title><desc>{}</desc>{}</svg>",
            escape(title),
            escape(description),
            self.body
        )
    }

    /// Ends an element that was begun, with its tip inside.
    fn close(&mut self, element: &str, tip: &str) {
        if tip.is_empty() {
            self.body.push_str("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></{element}>", escape(tip));
        }
    }
}

/// JupyterLab's text colour; elsewhere that of the text around.
pub(crate) const COLOUR: &str = "color:var(--jp-content-font-color1, currentColor)";

const CODE: &str = "font-family:var(--jp-code-font-family, monospace)";

/// Text as a picture: for a table, whose HTML is the table itself.
pub(crate) fn of_text(title: &str, text: &str) -> String {
    let mut svg = Svg::default();
    let mut y = 6.0;
    let mut longest = 0;
    for line in text.lines() {
        y += 16.0;
        longest = longest.max(width(line));
        svg.text((8.0, y), Anchor::Start, Style::Code, line);
    }
    let width = (16.0 + CODE_WIDTH * longest as f64).max(WIDTH);
    svg.finish(title, title, width, y + 10.0)
}

/// What reads on this fill.
fn ink(fill: &str) -> &'static str {
    match fill {
        BLUE | GREEN | VERMILION => "#fff",
        _ => "#000",
    }
}

/// Text that may stand in an element or an attribute. Characters that XML forbids are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// As wide as `limit` characters at most, the middle left out.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let tail = limit / 3;
    let head = fitting(text.chars(), limit - tail - 1);
    let tail: String = fitting(text.chars().rev(), tail)
        .into_iter()
        .rev()
        .collect();
    format!("{}…{tail}", head.into_iter().collect::<String>())
}

/// The same of a path, whose last name is what tells it from others: that is kept whole if there is room.
pub(crate) fn shorten_path(path: &str, limit: usize) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) if width(path) > limit && width(name) + 8 <= limit => {
            let head = fitting(folder.chars(), limit - width(name) - 2);
            format!("{}…/{name}", head.into_iter().collect::<String>())
        }
        _ => shorten(path, limit),
    }
}

/// As many as are no wider than `limit`.
fn fitting(characters: impl Iterator<Item = char>, limit: usize) -> Vec<char> {
    let mut used = 0;
    characters
        .take_while(|character| {
            used += columns(*character);
            used <= limit
        })
        .collect()
}

/// How many columns of a terminal a text takes: about as many times the width of a Latin letter.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Of code, in units.
pub(crate) fn code_width(text: &str) -> f64 {
    CODE_WIDTH * width(text) as f64
}

/// `wcwidth(3)`, for the blocks that matter: letters of East Asia and pictures are twice as wide, marks that stand
/// above another letter take nothing.
fn columns(character: char) -> usize {
    match character as u32 {
        0x300..=0x36f | 0x591..=0x5bd | 0x64b..=0x65f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use tracer::{Call, SignalEvent};

    use super::*;
    use crate::Picture;

    /// A call of process 7, from microsecond `at` on.
    pub(crate) fn call(name: &'static str, at: u64, took: u64) -> Call {
        Call {
            pid: 7,
            tid: 7,
            number: 0,
            name,
            family: tracer::family(name, &[0; 6]),
            args: [0; 6],
            ip: 0,
            decoded: vec![],
            result: Some(Ok(7)),
            start: Duration::from_micros(at),
            duration: Duration::from_micros(took),
            restarts: 0,
            injected: false,
        }
    }

    /// A SIGPIPE of process 7.
    pub(crate) fn signal(at: u64) -> SignalEvent {
        SignalEvent {
            pid: 7,
            tid: 7,
            signo: libc::SIGPIPE,
            name: "SIGPIPE",
            code: libc::SI_USER,
            sender: Some(7),
            uid: Some(0),
            address: None,
            injected: false,
            time: Duration::from_micros(at),
        }
    }

    /// Parses; has the parts that every picture has, and no ids.
    pub(crate) fn well_formed(picture: &Picture) {
        assert!(picture.text().ends_with('\n'));
        assert!(!picture.title().is_empty());
        let html = picture.html();
        let html = roxmltree::Document::parse(&html).unwrap();
        assert_eq!(html.root_element().tag_name().name(), "div");
        let svg = picture.svg();
        let svg = roxmltree::Document::parse(&svg).unwrap();
        let root = svg.root_element();
        assert_eq!(root.attribute("role"), Some("img"));
        let parts: Vec<_> = root.children().map(|node| node.tag_name().name()).collect();
        assert_eq!(parts[..2], ["title", "desc"]);
        for node in html.descendants().chain(svg.descendants()) {
            assert_eq!(node.attribute("id"), None);
            for attribute in node.attributes() {
                assert!(!attribute.value().contains("NaN"), "{attribute:?}");
                assert!(!attribute.value().contains("inf"), "{attribute:?}");
            }
        }
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let mut svg = Svg::default();
        svg.text(
            (0.0, 0.0),
            Anchor::Start,
            Style::Code,
            "</text><script>\0\u{1b}[1m",
        );
        svg.rect((0.0, 0.0, 1.0, 1.0), SKY, "\"a\" & <b>");
        let svg = svg.finish("<t>", "d & d", 10.0, 10.0);
        let parsed = roxmltree::Document::parse(&svg).unwrap();
        assert!(!parsed.descendants().any(|node| node.has_tag_name("script")));
        let tips: Vec<_> = parsed
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(tips, ["<t>", "\"a\" & <b>"]);
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shorten("abcdefghij", 7), "abcd…ij");
        assert_eq!(shorten("abc", 7), "abc");
        assert_eq!(shorten("長い名前です", 7), "長い…す");
        assert_eq!(width(&shorten("長い名前です", 7)), 7);
        assert_eq!(width("שלום a\u{301}"), 6);
        let library = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(shorten_path(library, 20), "/usr/lib/…/libc.so.6");
        assert_eq!(shorten_path(library, 12), "/usr/li…so.6");
        assert_eq!(shorten_path("/tmp/a", 6), "/tmp/a");
    }
}
