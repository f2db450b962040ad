//! Growth as an SVG picture: a bar for what each day's backups stored, a line for what they came to.

use std::fmt::Write;

use vadp_repository::DayGrowth;

use crate::show::{date, size};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 30.0;
/// Of the room of a day, what its bar takes.
const BAR: f64 = 0.7;

/// Draws the days from the first to the last, also those without a restore point. Nothing in it comes from the outside but numbers.
pub fn svg(growth: &[DayGrowth]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Growth of the repository</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let (Some(first), Some(last)) = (growth.first(), growth.last()) else {
        svg += "<text x=\"20\" y=\"20\">no restore points</text>\n</svg>\n";
        return svg;
    };
    let total: u64 = growth.iter().map(|day| day.stored_bytes).sum();
    let days = number(first, last) + 1.0;
    let step = (WIDTH - LEFT - RIGHT) / days;
    let height = |bytes: u64| (HEIGHT - TOP - BOTTOM) * bytes as f64 / total.max(1) as f64;
    let base = HEIGHT - BOTTOM;
    for part in 0..=4 {
        let bytes = total / 4 * part;
        let y = base - height(bytes);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            size(bytes)
        );
    }
    let (mut sum, mut line) = (0, format!("{LEFT:.1},{base:.1}"));
    for day in growth {
        let x = LEFT + number(first, day) * step;
        let bar = height(day.stored_bytes);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{bar:.1}\" fill=\"#7aa6da\"><title>{}: {}, {} restore \
             points</title></rect>",
            x + step * (1.0 - BAR) / 2.0,
            base - bar,
            step * BAR,
            &date(day.day)[..10],
            size(day.stored_bytes),
            day.points
        );
        let before = base - height(sum);
        sum += day.stored_bytes;
        let _ = write!(line, " {x:.1},{before:.1} {:.1},{:.1}", x + step, base - height(sum));
    }
    let _ = writeln!(
        svg,
        "<polyline points=\"{line}\" fill=\"none\" stroke=\"#1d3557\" stroke-width=\"2\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">{} stored by {} restore points that are still there (bars: each day)</text>\n\
         <text x=\"{LEFT}\" y=\"{}\">{}</text>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n</svg>",
        size(total),
        growth.iter().map(|day| day.points).sum::<u64>(),
        HEIGHT - 10.0,
        &date(first.day)[..10],
        WIDTH - RIGHT,
        HEIGHT - 10.0,
        &date(last.day)[..10]
    );
    svg
}

/// Days between two.
fn number(first: &DayGrowth, day: &DayGrowth) -> f64 {
    day.day.duration_since(first.day).map_or(0.0, |since| since.as_secs_f64() / 86_400.0)
}
