//! Charts as SVG, for the page and for reports. No `style` attribute: a strict content security policy forbids them.
use super::shown::count;
use maud::{Markup, html};
use std::fmt::Write;

/// Bars of which each has its own tooltip; of more there is one path.
const BARS_WITH_TIPS_MAX: usize = 168;
/// A chart's inner size and margins, in its own units.
const WIDTH: usize = 900;
const HEIGHT: usize = 96;
const LEFT: usize = 56;
const FOOT: usize = 20;

/// A stretch of time and its figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar<'a> {
    /// When it begins, RFC 3339.
    pub at: &'a str,
    pub figure: u64,
}

/// Figures on a time axis. `step`: `hour` or `day`.
pub fn chart(name: &str, step: &str, bars: &[Bar<'_>]) -> Markup {
    let most = bars.iter().map(|bar| bar.figure).max().unwrap_or(0).max(1);
    let width = (WIDTH - LEFT) as f64 / bars.len().max(1) as f64;
    let place = |number: usize, bar: &Bar| {
        let height = bar.figure as f64 * HEIGHT as f64 / most as f64;
        (LEFT as f64 + number as f64 * width, HEIGHT as f64 - height, (width * 0.86).max(0.4), height)
    };
    let sum: u64 = bars.iter().map(|bar| bar.figure).sum();
    html! {
        figure {
            figcaption { (name) }
            svg viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + FOOT)) role="img" aria-label=(format!("{name} by {step}: {sum} in all, at most {most}")) {
                text .axis x=(LEFT - 8) y="10" text-anchor="end" { (short(most)) }
                text .axis x=(LEFT - 8) y=(HEIGHT) text-anchor="end" { "0" }
                path .grid d=(format!("M{LEFT} 1H{WIDTH}M{LEFT} {HEIGHT}.5H{WIDTH}")) {}
                @if bars.len() <= BARS_WITH_TIPS_MAX {
                    @for (number, bar) in bars.iter().enumerate() {
                        @let (x, y, width, height) = place(number, bar);
                        rect .bar x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{width:.1}")) height=(format!("{height:.1}")) {
                            title { (label(bar.at, step)) ": " (count(bar.figure)) }
                        }
                    }
                } @else {
                    path .bar d=(path(bars, place)) {}
                }
                @for (number, text) in labels(bars) {
                    text .axis x=(format!("{:.1}", LEFT as f64 + number as f64 * width)) y=(HEIGHT + FOOT - 5) { (text) }
                }
            }
        }
    }
}

/// A bar behind a figure of a table, as long as its share of the largest one. Whoever cannot see it reads the figure.
pub fn share(figure: u64, most: u64) -> Markup {
    let percent = figure as f64 * 100.0 / most.max(1) as f64;
    html! {
        svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
            rect x=(format!("{:.1}", 100.0 - percent)) width=(format!("{percent:.1}")) height="1" {}
        }
    }
}

fn path<'a>(bars: &[Bar<'a>], place: impl Fn(usize, &Bar<'a>) -> (f64, f64, f64, f64)) -> String {
    let mut path = String::new();
    for (number, bar) in bars.iter().enumerate() {
        let (x, y, width, height) = place(number, bar);
        if height > 0.0 {
            // Writing to a string does not fail.
            let _ = write!(path, "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
    }
    path
}

/// Some steps that have their time written below them: about eight.
fn labels<'a>(bars: &[Bar<'a>]) -> Vec<(usize, &'a str)> {
    let days = bars.iter().enumerate().filter(|(_, bar)| bar.at.get(11..13) == Some("00"));
    let mut marks: Vec<(usize, &str)> = days.map(|(number, bar)| (number, bar.at.get(5..10).unwrap_or_default())).collect();
    if marks.len() <= 2 {
        marks = bars.iter().enumerate().map(|(number, bar)| (number, bar.at.get(11..16).unwrap_or_default())).collect();
    }
    let every = marks.len().div_ceil(8).max(1);
    marks.into_iter().step_by(every).collect()
}

fn label<'a>(at: &'a str, step: &str) -> &'a str {
    at.get(..if step == "hour" { 16 } else { 10 }).unwrap_or(at)
}

/// `12.3k`, for an axis.
fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{:.0}k", number as f64 / 1e3),
        _ => format!("{:.0}M", number as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_share_and_say_their_figures() {
        let bars = [Bar { at: "2026-03-22T00:00:00.000000Z", figure: 5 }, Bar { at: "2026-03-22T01:00:00.000000Z", figure: 10 }];
        let drawn = chart("events", "hour", &bars).into_string();
        assert!(drawn.contains("events by hour: 15 in all, at most 10"), "{drawn}");
        assert!(drawn.contains(r#"height="48.0""#) && drawn.contains(r#"height="96.0""#), "{drawn}");
        assert!(drawn.contains("<title>2026-03-22T01:00: 10</title>") && !drawn.contains("style="), "{drawn}");
        assert!(chart("events", "hour", &[]).into_string().contains("at most 1"));
    }

    #[test]
    fn many_bars_are_one_path() {
        let bars = vec![Bar { at: "2026-03-22T00:00:00.000000Z", figure: 1 }; BARS_WITH_TIPS_MAX + 1];
        let drawn = chart("events", "hour", &bars).into_string();
        assert_eq!(drawn.matches("<rect").count(), 0);
        assert_eq!(drawn.matches("class=\"bar\"").count(), 1);
    }
}
