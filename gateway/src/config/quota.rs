//! What one tenant may use at this gateway.

use super::reader::Reader;
use super::show::{line, quoted};
use super::tables::of_tenants;
use super::values::whole;
use crate::quota::Rate;
use std::collections::HashMap;
use std::fmt;

/// Calls that a tenant may have open, unless the configuration says otherwise. One that
/// waits for an answer costs up to 17 KiB.
const CALLS_IN_FLIGHT: usize = 10_000;

/// What tenants may use; each gateway counts for itself. Default: as many jobs as there are,
/// and 10,000 open calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Every tenant that is not named.
    pub each: Allowance,
    /// Those that are.
    pub tenants: HashMap<String, Allowance>,
}

/// What a tenant may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Jobs and direct calls that it may submit per second.
    pub jobs_per_second: Option<u32>,
    /// How many of them at once, after a pause. Default: those of one second.
    pub jobs_burst: Option<u32>,
    /// Calls of all kinds that it may have open at once, waiting ones and streams included.
    pub calls_in_flight: Option<usize>,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        let calls_in_flight = Some(CALLS_IN_FLIGHT);
        let each = Allowance { calls_in_flight, ..Allowance::default() };
        Self { each, tenants: HashMap::new() }
    }
}

impl Allowance {
    pub(crate) fn rate(&self) -> Option<Rate> {
        let per_second = self.jobs_per_second?;
        Some(Rate { per_second, burst: self.jobs_burst.unwrap_or(per_second) })
    }
}

impl QuotaConfig {
    /// What one tenant may use. What is not said of it by name holds as for every one.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Allowance {
        let Some(own) = self.tenants.get(tenant) else { return self.each };
        let each = self.each;
        Allowance {
            jobs_per_second: own.jobs_per_second.or(each.jobs_per_second),
            // A burst belongs to its rate.
            jobs_burst: own.jobs_burst.or(own.jobs_per_second.or(each.jobs_burst)),
            calls_in_flight: own.calls_in_flight.or(each.calls_in_flight),
        }
    }
}

pub(super) fn read(reader: &mut Reader) -> QuotaConfig {
    let jobs_per_second = reader.read("quota.jobs_per_second", whole(1..=1_000_000));
    let jobs_burst = reader.read("quota.jobs_burst", whole(1..=1_000_000));
    let calls_in_flight = reader.read("quota.calls_in_flight", whole(1..=1_000_000));
    let calls_in_flight = calls_in_flight.or(Some(CALLS_IN_FLIGHT));
    let each = Allowance { jobs_per_second, jobs_burst, calls_in_flight };
    if jobs_burst.is_some() && jobs_per_second.is_none() {
        let problem = "there is no rate";
        reader.complain("quota.jobs_burst", problem, "no such key, or jobs_per_second");
    }
    let named = of_tenants(reader, "quota.tenant", |inner| Allowance {
        jobs_per_second: inner.read("jobs_per_second", whole(1..=1_000_000)),
        jobs_burst: inner.read("jobs_burst", whole(1..=1_000_000)),
        calls_in_flight: inner.read("calls_in_flight", whole(1..=1_000_000)),
    });
    QuotaConfig { each, tenants: named.into_iter().collect() }
}

pub(super) fn show(f: &mut fmt::Formatter<'_>, quota: &QuotaConfig) -> fmt::Result {
    writeln!(f, "\n[quota]")?;
    show_allowance(f, &quota.each)?;
    let mut named: Vec<_> = quota.tenants.iter().collect();
    named.sort_by_key(|(name, _)| *name);
    for (name, allowance) in named {
        writeln!(f, "[[quota.tenant]]")?;
        line(f, "name", quoted(name))?;
        show_allowance(f, allowance)?;
    }
    Ok(())
}

fn show_allowance(f: &mut fmt::Formatter<'_>, allowance: &Allowance) -> fmt::Result {
    let Allowance { jobs_per_second, jobs_burst, calls_in_flight } = allowance;
    jobs_per_second.map_or(Ok(()), |value| line(f, "jobs_per_second", value))?;
    jobs_burst.map_or(Ok(()), |value| line(f, "jobs_burst", value))?;
    calls_in_flight.map_or(Ok(()), |value| line(f, "calls_in_flight", value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const REST: &str = r#"
auth = "none"
job_id_keys = "1:MDEyMzQ1Njc4OWFiY2RlZg=="
envelope_keys = "1:ZmVkY2JhOTg3NjU0MzIxMA=="
store.table = "t"
route = [{ methods = "*", queue = "https://sqs.example/1/q" }]
"#;

    #[test]
    fn a_tenants_own_allowance_goes_before_that_of_all() {
        let text = "[quota]\njobs_per_second = 10\njobs_burst = 50\ncalls_in_flight = 5\n\
                    [[quota.tenant]]\nname = \"big\"\njobs_per_second = 100\n";
        let config = Config::parse(&format!("{REST}{text}"), []).unwrap();
        let rate = |tenant| config.quota.of(tenant).rate().unwrap();
        assert_eq!((rate("any").per_second, rate("any").burst), (10, 50));
        assert_eq!((rate("big").per_second, rate("big").burst), (100, 100));
        assert_eq!(config.quota.of("big").calls_in_flight, Some(5));
        // What is printed can be read again.
        let shown = config.to_string();
        let quota = shown.split("\n\n").find(|part| part.starts_with("[quota]")).unwrap();
        let again = Config::parse(&format!("{REST}{quota}"), []).unwrap();
        assert_eq!(again.quota, config.quota);
        assert_eq!(Config::parse(REST, []).unwrap().quota, QuotaConfig::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, place) in [
            ("jobs_per_second = 0", "quota.jobs_per_second"),
            ("jobs_burst = 5", "quota.jobs_burst"),
            ("rate = 5", "quota.rate"),
            ("tenant = [{ jobs_per_second = 1 }]", "quota.tenant[0].name"),
            ("tenant = [{ name = \"a\" }, { name = \"a\" }]", "quota.tenant"),
        ] {
            let errors = Config::parse(&format!("{REST}[quota]\n{text}"), []).unwrap_err();
            assert!(errors.to_string().contains(place), "{errors}");
        }
    }
}
