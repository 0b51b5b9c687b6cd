//! What a process has used, as Linux tells it.

use crate::Failure;
use std::fs;
use std::time::Duration;

/// Linux counts CPU time for users in hundredths of a second on every platform
/// that this runs on.
const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// In user and system mode, all threads together.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// Of the process with this id.
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name before it, in parentheses, may hold anything. The user time is
        // the twelfth field after it, the system time the next.
        let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks = |field: Option<&str>| field.unwrap_or_default().parse::<u32>();
        let mut fields = fields.split_whitespace().skip(11);
        let ticks = ticks(fields.next())? + ticks(fields.next())?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(Self { cpu: TICK * ticks, resident: kib.parse::<u64>()? * 1024 })
    }

    /// Of this process.
    pub(crate) fn own() -> Result<Self, Failure> {
        Self::of(std::process::id())
    }
}
