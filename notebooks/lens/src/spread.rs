//! How are measured series drawn below each other, a row each, and what do pictures of them have in common?

use crate::axis::Scale;
use crate::measure::Series;
use crate::number;
use crate::picture::Picture;
use crate::svg::{Anchor, Style, Svg, WIDTH, shorten};
use crate::table::{self, Column, Table};

/// Where rows begin and end: names stand left of them, numbers on the right.
pub(crate) const LEFT: f64 = 210.0;
pub(crate) const RIGHT: f64 = WIDTH - 130.0;
const ROW: f64 = 34.0;

/// All but the rows.
pub(crate) struct Spread<'a> {
    pub(crate) title: String,
    /// From [`LEFT`] to [`RIGHT`].
    pub(crate) scale: Scale,
    /// What the axis counts.
    pub(crate) label: &'a str,
    /// What the parts of a row mean.
    pub(crate) key: &'a str,
    pub(crate) table: Table,
}

impl Spread<'_> {
    /// `row` draws a series around the height it is given, and says what one of its measurements held: "1 MiB".
    pub(crate) fn draw(
        self,
        series: &[Series],
        middle: impl Fn(&Series) -> String,
        row: impl Fn(&mut Svg, &Scale, f64, &Series) -> String,
    ) -> Picture {
        let (title, table) = (self.title, self.table);
        let text = format!("{title}\n{}", table.text());
        let mut svg = Svg::default();
        svg.title(&title);
        let top = 26.0;
        let bottom = top + ROW * series.len().max(1) as f64;
        self.scale.horizontal(&mut svg, top, bottom, self.label);
        for (index, series) in series.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            let name = shorten(series.name(), 28);
            svg.text((LEFT - 12.0, y + 4.0), Anchor::End, Style::Normal, &name);
            if series.is_empty() {
                let at = (LEFT + 6.0, y + 4.0);
                svg.text(at, Anchor::Start, Style::Faint, "not measured");
                continue;
            }
            let each = row(&mut svg, &self.scale, y, series);
            let beside = (RIGHT + 14.0, y - 2.0);
            svg.text(beside, Anchor::Start, Style::Bold, &middle(series));
            let count = format!("{} × {each}", number::count(series.len() as u64));
            let beside = (RIGHT + 14.0, y + 12.0);
            svg.text(beside, Anchor::Start, Style::Faint, &count);
        }
        let y = bottom + 56.0;
        svg.text((WIDTH, y), Anchor::End, Style::Faint, self.key);
        let svg = svg.finish(&title, &text, WIDTH, y + 8.0);
        let html = table::page(&format!("{svg}{}", table::folded(&table.html(&title))));
        Picture::new(title, text, svg, html)
    }
}

/// A row a series: its name, a column for each share of `quantiles`, how many measurements, what each held.
pub(crate) fn rows(
    columns: impl Into<Vec<Column>>,
    series: &[Series],
    quantiles: &[f64],
    read: impl Fn(&Series, f64) -> String,
    each: impl Fn(&Series) -> String,
) -> Table {
    let mut table = Table::new(columns);
    for series in series {
        let mut cells = vec![series.name().to_owned()];
        cells.extend(quantiles.iter().map(|q| {
            if series.is_empty() {
                String::new()
            } else {
                read(series, *q)
            }
        }));
        cells.push(number::count(series.len() as u64));
        cells.push(each(series));
        table.row(cells);
    }
    table
}
