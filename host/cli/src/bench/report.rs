//! What was measured, as a table for people and as data for programs.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

/// All that was measured, in order.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The server: its version and the settings that matter for commits.
    pub server: String,
    /// The figures.
    pub measures: Vec<Measure>,
    /// What was left out, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// The row of the bench that it belongs to.
    pub row: &'static str,
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The figure divided by the reference's: plain single-row commits by one connection, measured just before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// What it is meant to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether it is what it is meant to be; none when nothing is asked of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// What else there is to know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a figure is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The figure, at most.
    AtMost(f64),
    /// The figure, at least.
    AtLeast(f64),
    /// The ratio to the reference, at most.
    RatioAtMost(f64),
    /// The ratio to the reference, at least.
    RatioAtLeast(f64),
}

impl Measure {
    /// A figure of which nothing is asked.
    pub(super) fn new(
        row: &'static str,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            row,
            name: name.into(),
            value,
            unit,
            ratio: None,
            target: None,
            met: None,
            note: None,
        }
    }

    /// The same, compared with the reference.
    pub(super) fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// The same, with what it is meant to be. To be called after [`Measure::ratio`].
    pub(super) fn target(mut self, target: Target) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        self.target = Some(target);
        self.met = Some(match target {
            Target::AtMost(limit) => self.value <= limit,
            Target::AtLeast(limit) => self.value >= limit,
            Target::RatioAtMost(limit) => ratio <= limit,
            Target::RatioAtLeast(limit) => ratio >= limit,
        });
        self
    }

    /// The same, with a remark.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl Report {
    /// How many of the figures are not what they are meant to be.
    pub fn missed(&self) -> usize {
        self.measures
            .iter()
            .filter(|measure| measure.met == Some(false))
            .count()
    }

    /// The figures as a table.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header([
                "ROW", "MEASURE", "VALUE", "UNIT", "x COMMIT", "TARGET", "MET", "NOTE",
            ]);
        for column in [2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut last = "";
        for measure in &self.measures {
            table.add_row([
                if measure.row == last { "" } else { measure.row }.to_owned(),
                measure.name.clone(),
                figure(measure.value),
                measure.unit.to_owned(),
                measure.ratio.map(figure).unwrap_or_default(),
                measure.target.map(Target::text).unwrap_or_default(),
                measure.met.map_or("", met).to_owned(),
                measure.note.clone().unwrap_or_default(),
            ]);
            last = measure.row;
        }
        table
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {}", figure(limit)),
            Self::AtLeast(limit) => format!(">= {}", figure(limit)),
            Self::RatioAtMost(limit) => format!("<= {}x", figure(limit)),
            Self::RatioAtLeast(limit) => format!(">= {}x", figure(limit)),
        }
    }
}

fn met(met: bool) -> &'static str {
    if met { "yes" } else { "MISSED" }
}

/// A number with about three digits that matter.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_show_what_matters() {
        let shown = [1_234.56, 50.0, 12.34, 1.234, 0.012_34].map(figure);
        assert_eq!(shown, ["1235", "50", "12.3", "1.23", "0.0123"]);
    }

    #[test]
    fn a_missed_target_is_marked_and_counted() {
        let slow = Measure::new("flow", "steps", 100.0, "/s")
            .ratio(0.5)
            .target(Target::RatioAtLeast(3.0));
        let small = Measure::new("flow", "bytes", 100.0, "B").target(Target::AtMost(400.0));
        let fast = Measure::new("languages", "share", 0.2, "").target(Target::AtLeast(0.5));
        let report = Report {
            server: String::new(),
            measures: vec![slow, small, fast],
            left_out: Vec::new(),
        };
        assert_eq!(report.missed(), 2);
        let table = report.table().to_string();
        assert!(
            [">= 3x", "MISSED", "<= 400", ">= 0.50"]
                .iter()
                .all(|text| table.contains(text)),
            "{table}"
        );
    }

    #[test]
    fn a_target_for_a_ratio_that_was_not_taken_is_missed() {
        let measure = Measure::new("flow", "steps", 100.0, "/s").target(Target::RatioAtMost(3.0));
        assert_eq!(measure.met, Some(false));
    }
}
