//! Figures side by side.

use crate::load::Sample;

/// One program, measured several times.
pub(crate) struct Row {
    name: String,
    samples: Vec<Sample>,
    notes: Vec<String>,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), notes: Vec::new() }
    }

    /// Adds a round, and shows that it is over.
    pub(crate) fn add(&mut self, sample: Sample) {
        println!("  {}: {:.0}/s", self.name, sample.rate);
        self.samples.push(sample);
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The median of one figure over the rounds that have it.
    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let mut figures: Vec<f64> = self.samples.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        match figures.len() {
            0 => None,
            even if even % 2 == 0 => Some(f64::midpoint(figures[middle - 1], figures[middle])),
            _ => Some(figures[middle]),
        }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.median(|sample| Some(sample.rate)).unwrap_or(f64::NAN)
    }

    fn all_notes(&self) -> String {
        let mut notes = self.notes.clone();
        let failures: u64 = self.samples.iter().map(|sample| sample.failures).sum();
        if failures > 0 {
            let first = self.samples.iter().find_map(|sample| sample.first_failure.as_deref());
            notes.push(format!("{failures} failed, the first: {}", first.unwrap_or_default()));
        }
        notes.join("; ")
    }
}

/// Programs that are compared.
pub(crate) struct Table<'a> {
    pub(crate) title: &'a str,
    /// What the ratio is of, for its column.
    pub(crate) unit: &'a str,
    pub(crate) reference: f64,
    pub(crate) rows: Vec<Row>,
}

impl Table<'_> {
    pub(crate) fn print(&self) {
        let Self { title, unit, reference, rows } = self;
        println!("\n{title:<22}  {:>8}  {unit:>10}  {:>8}  {:>8}", "per s", "p50 ms", "p99 ms");
        println!(
            "{:<22}  {:>8}  {:>10}  {:>8}  {:>8}  {:>10}  {:>10}  {:>8}",
            "", "", "", "", "", "server", "client", "server"
        );
        println!(
            "{:<22}  {:>8}  {:>10}  {:>8}  {:>8}  {:>10}  {:>10}  {:>8}",
            "", "", "", "", "", "ms/1,000", "ms/1,000", "RSS MiB"
        );
        for row in rows {
            let figure = |figure: fn(&Sample) -> Option<f64>, digits: usize| {
                row.median(figure).map_or_else(|| "-".to_owned(), |f| format!("{f:.digits$}"))
            };
            println!(
                "{:<22}  {:>8}  {:>10.2}  {:>8}  {:>8}  {:>10}  {:>10}  {:>8}  {}",
                row.name,
                figure(|sample| Some(sample.rate), 0),
                row.rate() / reference,
                figure(|sample| Some(sample.p50), 2),
                figure(|sample| Some(sample.p99), 2),
                figure(|sample| sample.server_cpu, 1),
                figure(|sample| Some(sample.own_cpu), 1),
                figure(|sample| sample.resident, 1),
                row.all_notes(),
            );
        }
    }
}
