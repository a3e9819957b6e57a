//! The report as a picture: how each figure goes with the number of calls.

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color as _, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _,
    IntoLogRange as _, LineSeries, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};
use thiserror::Error;

use super::wire::{Report, Run, Spread};

/// The picture could not be drawn.
#[derive(Debug, Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(String);

/// Draws the report as an SVG.
pub fn plot(report: &Report) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        for (panel, area) in PANELS.iter().zip(root.split_evenly((2, 3))) {
            panel.draw(report, &area).map_err(|error| failed(&error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type AreaError<'a> =
    DrawingAreaErrorKind<<SVGBackend<'a> as plotters::prelude::DrawingBackend>::ErrorType>;

/// One small chart: lines over the number of calls.
struct Panel {
    title: &'static str,
    lines: &'static [(&'static str, Value)],
}

type Value = fn(&Run) -> Option<f64>;

const PANELS: &[Panel] = &[
    Panel {
        title: "uplink, ms",
        lines: &[
            ("p50", |run| known(&run.uplink_ms, |it| it.p50)),
            ("p99", |run| known(&run.uplink_ms, |it| it.p99)),
            ("p99.9", |run| known(&run.uplink_ms, |it| it.p999)),
        ],
    },
    Panel {
        title: "downlink, ms",
        lines: &[
            ("p50", |run| known(&run.downlink_ms, |it| it.p50)),
            ("p99", |run| known(&run.downlink_ms, |it| it.p99)),
            ("p99.9", |run| known(&run.downlink_ms, |it| it.p999)),
        ],
    },
    Panel {
        title: "barge-in to silence, ms",
        lines: &[
            ("p50", |run| known(&run.barge_in_ms, |it| it.p50)),
            ("p99", |run| known(&run.barge_in_ms, |it| it.p99)),
            ("worst", |run| known(&run.barge_in_ms, |it| it.max)),
        ],
    },
    Panel {
        title: "playout gap beyond 20 ms, ms",
        lines: &[
            ("p50", |run| known(&run.gap_ms, |it| it.p50)),
            ("p99.9", |run| known(&run.gap_ms, |it| it.p999)),
            ("worst", |run| known(&run.gap_ms, |it| it.max)),
        ],
    },
    Panel {
        title: "CPU, ms per second of call",
        lines: &[
            ("gateway", |run| run.gateway.map(|it| it.cpu_ms_per_call_second)),
            ("bare parts", |run| run.bare_ms_per_call_second),
            ("generator", |run| run.generator.map(|it| it.cpu_ms_per_call_second)),
        ],
    },
    Panel {
        title: "memory of the gateway, MiB",
        lines: &[
            ("busy", |run| run.gateway.map(|it| it.busy_mib)),
            ("idle", |run| run.gateway.map(|it| it.idle_mib)),
        ],
    },
];

impl Panel {
    fn draw<'a>(&self, report: &Report, area: &Area<'a>) -> Result<(), AreaError<'a>> {
        let most = report.runs.iter().map(|run| run.calls).max().unwrap_or(1);
        let values = self.lines.iter().flat_map(|(_, value)| report.runs.iter().filter_map(value));
        let (low, high) = values.fold((f64::MAX, LEAST), |(low, high), value| {
            (low.min(value.max(LEAST)), high.max(value))
        });
        let low = low.min(high);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..f64::from(most) * 1.1, (low / 1.5..high * 1.5).log_scale())?;
        chart.configure_mesh().x_desc("calls").light_line_style(WHITE).draw()?;
        for ((name, value), colour) in self.lines.iter().zip(COLOURS) {
            let points: Vec<(f64, f64)> = report
                .runs
                .iter()
                .filter_map(|run| Some((f64::from(run.calls), value(run)?.max(LEAST))))
                .collect();
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let series = chart.draw_series(line)?.label(*name);
            series.legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
            let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()
    }
}

fn known(spread: &Spread, value: fn(&Spread) -> f64) -> Option<f64> {
    (spread.count > 0).then(|| value(spread))
}

fn failed(error: &dyn std::error::Error) -> PlotError {
    PlotError(error.to_string())
}

const SIZE: (u32, u32) = (1_200, 700);
/// What is less is drawn as this: the axis has no zero.
const LEAST: f64 = 0.01;
/// For those who do not tell red from green, too.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(213, 94, 0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_its_panel_and_every_line_its_name() {
        let spread =
            |p50| Spread { count: 9, p50, p99: 2.0 * p50, p999: 3.0 * p50, ..Spread::default() };
        let run = |calls, p50| Run { calls, uplink_ms: spread(p50), ..Run::default() };
        let svg =
            plot(&Report { runs: vec![run(1, 0.5), run(50, 0.8)], ..Report::default() }).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for panel in PANELS {
            assert!(svg.contains(panel.title), "{}", panel.title);
        }
        assert!(svg.contains("p99.9") && svg.contains("<polyline"));
    }

    #[test]
    fn a_report_of_nothing_can_be_drawn() {
        assert!(plot(&Report::default()).is_ok());
    }
}
