//! What a configuration does not say and the structure of the templates depends on.

use crate::config::parse_duration;
use std::str::FromStr;
use std::time::Duration;

/// The longest invocation of Lambda.
const LONGEST: Duration = Duration::from_secs(900);

/// What a configuration does not say and the structure of the templates depends on.
/// Everything else is a parameter of its stack.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the names of everything begin with that the configuration does not name: 1 to
    /// 20 characters of `a-z 0-9 -`.
    pub name: String,
    /// The longest invocations of worker functions; the last that fits a queue holds.
    pub function_timeouts: Vec<FunctionTimeout>,
    /// Messages per invocation at most, 1 to 10,000; of ordered queues never above 10.
    pub batch_size: u32,
    /// How long Lambda may gather a batch, at most 300 s. Ordered queues have none.
    pub batch_window: Duration,
    /// The first line of each template: how it was made.
    pub made: String,
}

/// The longest invocation of the worker functions of one queue, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTimeout {
    /// The name of the queue; all without one.
    pub queue: Option<String>,
    /// 1 s to 15 min, in whole seconds.
    pub timeout: Duration,
}

impl FromStr for FunctionTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (queue, time) = match text.rsplit_once('=') {
            Some((queue, time)) => (Some(queue.to_owned()), time),
            None => (None, text),
        };
        let timeout = parse_duration(time)?;
        let right =
            timeout.subsec_nanos() == 0 && (1..=LONGEST.as_secs()).contains(&timeout.as_secs());
        if !right || queue.as_deref() == Some("") {
            return Err("expected TIME or QUEUE=TIME, of 1s to 15m in whole seconds".to_owned());
        }
        Ok(Self { queue, timeout })
    }
}

impl Settings {
    /// The longest invocation of a queue's worker function, in seconds.
    pub(super) fn timeout_of(&self, queue: &str) -> u64 {
        let fits = |setting: &&FunctionTimeout| setting.queue.as_deref().is_none_or(|q| q == queue);
        self.function_timeouts.iter().rfind(fits).map_or(60, |setting| setting.timeout.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_fits_holds() {
        let parse = |text: &str| text.parse::<FunctionTimeout>();
        let settings = Settings {
            name: "q".to_owned(),
            function_timeouts: vec![parse("30s").unwrap(), parse("b=5m").unwrap()],
            batch_size: 10,
            batch_window: Duration::ZERO,
            made: String::new(),
        };
        assert_eq!((settings.timeout_of("a"), settings.timeout_of("b")), (30, 300));
        for bad in ["", "30", "16m", "0s", "1500ms", "=30s", "a=never"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
