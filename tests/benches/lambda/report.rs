//! Figures side by side.

/// One measurement.
pub(crate) struct Sample {
    /// Records per second.
    pub(crate) rate: f64,
    /// Milliseconds of the function's CPU time per 1,000 records.
    pub(crate) cpu: f64,
    /// The same of the model around it, which is no part of what is compared.
    pub(crate) model_cpu: f64,
    /// Its resident memory at the end, in MiB.
    pub(crate) resident: f64,
}

/// One program, measured several times.
pub(crate) struct Row {
    name: &'static str,
    samples: Vec<Sample>,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        println!("  {}: {:.0}/s", self.name, sample.rate);
        self.samples.push(sample);
    }

    fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(figure).collect())
    }
}

/// The middle of some figures; the lower one of two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Prints programs beside the first of them.
pub(crate) fn print<const N: usize>(batch: usize, rows: [Row; N]) {
    println!(
        "\nbatches of {batch:<11}  {:>9}  {:>6}  {:>9}  {:>6}  {:>7}  {:>9}",
        "records", "of the", "CPU ms", "of the", "RSS", "the model"
    );
    println!(
        "{:<22}  {:>9}  {:>6}  {:>9}  {:>6}  {:>7}  {:>9}",
        "", "per s", "first", "per 1,000", "first", "MiB", "CPU ms"
    );
    let (rate, cpu) = (rows[0].median(|s| s.rate), rows[0].median(|s| s.cpu));
    for row in &rows {
        let (own_rate, own_cpu) = (row.median(|s| s.rate), row.median(|s| s.cpu));
        println!(
            "{:<22}  {own_rate:>9.0}  {:>6.2}  {own_cpu:>9.2}  {:>6.2}  {:>7.1}  {:>9.2}",
            row.name,
            own_rate / rate,
            own_cpu / cpu,
            row.median(|s| s.resident),
            row.median(|s| s.model_cpu),
        );
    }
    println!();
}
