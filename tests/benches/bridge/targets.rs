//! What is to be reached, beside what was measured.

/// The targets that this run could judge.
#[derive(Default)]
pub(crate) struct Targets(Vec<Target>);

struct Target {
    name: String,
    bound: String,
    measured: f64,
    met: bool,
}

impl Targets {
    pub(crate) fn at_least(&mut self, name: String, bound: f64, measured: f64) {
        let met = measured >= bound;
        self.0.push(Target { name, bound: format!("at least {bound:.2}"), measured, met });
    }

    pub(crate) fn at_most(&mut self, name: String, bound: f64, measured: f64) {
        let met = measured <= bound;
        self.0.push(Target { name, bound: format!("at most {bound:.2}"), measured, met });
    }

    pub(crate) fn print(&self) {
        println!("\n{:<46}  {:>13}  {:>8}", "Target", "", "measured");
        for Target { name, bound, measured, met } in &self.0 {
            let verdict = if *met { "met" } else { "missed" };
            println!("{name:<46}  {bound:>13}  {measured:>8.3}  {verdict}");
        }
    }
}
