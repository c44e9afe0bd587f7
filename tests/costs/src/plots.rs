//! Plots of a month, as SVG that is legible on light and on dark ground.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::simulation::{Hour, Line, Minute, Month};

const WIDTH: u32 = 900;
/// Of each panel.
const HEIGHT: u32 = 270;
/// Above the highest line there is room for the legend.
const HEADROOM: f64 = 1.75;
/// In between light and dark, for both.
const INK: RGBColor = RGBColor(125, 133, 144);
const BLUE: RGBColor = RGBColor(56, 139, 253);
const ORANGE: RGBColor = RGBColor(219, 109, 40);
const GREEN: RGBColor = RGBColor(46, 160, 67);

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("draw a plot: {0}")]
pub struct PlotError(String);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Points = Vec<(f64, f64)>;

struct Series {
    name: &'static str,
    colour: RGBColor,
    points: Points,
}

struct Panel {
    title: &'static str,
    x: (&'static str, f64, usize),
    series: Vec<Series>,
}

/// Ages in the queues and calls of the functions, hour by hour. `unit` of the ages: its name and its seconds.
///
/// # Errors
/// If it cannot be drawn.
pub fn month(month: &Month, unit: (&'static str, f64)) -> Result<String, PlotError> {
    let ages = |line: &Line| hourly(line, |hour| hour.oldest / unit.1);
    let calls = |line: &Line| hourly(line, |hour| hour.concurrency);
    draw(&[
        Panel {
            title: unit.0,
            x: ("day of the month", 30.0, 16),
            series: three(month, ages),
        },
        Panel {
            title: "calls at the same time, at most in each hour",
            x: ("day of the month", 30.0, 16),
            series: three(month, calls),
        },
    ])
}

/// One day, minute by minute: what comes in, how many downloads there are, and how long they wait.
///
/// # Errors
/// If it cannot be drawn.
pub fn day(month: &Month) -> Result<String, PlotError> {
    let of = |value: fn(&Minute) -> f64| -> Points {
        (0u32..)
            .zip(&month.day)
            .map(|(minute, it)| (f64::from(minute) / 60.0, value(it)))
            .collect()
    };
    let x = ("hour of the day, UTC", 24.0, 13);
    let series = |name, colour, value| Series {
        name,
        colour,
        points: of(value),
    };
    draw(&[
        Panel {
            title: "recordings a second, on average of each minute",
            x,
            series: vec![series("recordings", GREEN, |it| {
                crate::queue::as_number(it.recordings) / 60.0
            })],
        },
        Panel {
            title: "downloads at the same time",
            x,
            series: vec![series("recording-downloader", BLUE, |it| it.concurrency)],
        },
        Panel {
            title: "age of the oldest file that waits, minutes",
            x,
            series: vec![
                series("largest account", ORANGE, |it| it.oldest_of_largest / 60.0),
                series("all others", BLUE, |it| it.oldest_of_others / 60.0),
            ],
        },
    ])
}

fn three(month: &Month, points: impl Fn(&Line) -> Points) -> Vec<Series> {
    [
        ("event-processor", GREEN, &month.events),
        ("notifier", ORANGE, &month.notifications),
        ("recording-downloader", BLUE, &month.downloads),
    ]
    .map(|(name, colour, line)| Series {
        name,
        colour,
        points: points(line),
    })
    .into()
}

fn hourly(line: &Line, value: impl Fn(&Hour) -> f64) -> Points {
    (0u32..)
        .zip(&line.hours)
        .map(|(hour, it)| (f64::from(hour) / 24.0, value(it)))
        .collect()
}

fn draw<const N: usize>(panels: &[Panel; N]) -> Result<String, PlotError> {
    let mut text = String::new();
    {
        let height = (0..N).map(|_| HEIGHT).sum();
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        for (area, panel) in root.split_evenly((N, 1)).iter().zip(panels) {
            draw_panel(area, panel).map_err(|error| PlotError(error.to_string()))?;
        }
        root.present()
            .map_err(|error| PlotError(error.to_string()))?;
    }
    Ok(text)
}

fn draw_panel(
    area: &Area<'_>,
    panel: &Panel,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
    let ink = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let points = panel.series.iter().flat_map(|series| &series.points);
    let highest = points.map(|(_, y)| *y).fold(0.0, f64::max);
    let (label, end, labels) = panel.x;
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ink(20))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..(highest * HEADROOM).max(1.0))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.25))
        .axis_style(INK)
        .label_style(ink(17))
        .x_labels(labels)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_labels(6)
        .y_label_formatter(&|y| short(*y))
        .x_desc(label)
        .draw()?;
    for series in &panel.series {
        let (colour, points) = (series.colour, series.points.iter().copied());
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(TRANSPARENT)
        .label_font(ink(17))
        .draw()
}

fn short(number: f64) -> String {
    if number >= 10_000.0 {
        format!("{:.0} k", number / 1_000.0)
    } else if number.fract().abs() > 1e-9 && number < 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}
