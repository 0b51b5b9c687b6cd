//! The arguments of `replay`.

use crate::cli::args::{ConfigArgs, Gateway};
use crate::config::MethodPattern;
use clap::{ArgGroup, Args};
use queuebridge_proto::JobId;

/// The arguments of `replay`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("selection")
    .required(true)
    .multiple(true)
    .args(["jobs", "method", "reason", "all"]))]
pub struct ReplayArgs {
    /// The queue with the parked messages
    #[arg(long, value_name = "URL", value_parser = queue_url)]
    pub parking_queue: String,
    /// Where parked callbacks go; without it they stay parked
    #[arg(long, value_name = "URL", value_parser = queue_url)]
    pub callback_queue: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Replay this job, repeatable; together with other filters all must hold
    #[arg(long = "job", value_name = "ID", allow_hyphen_values = true, value_parser = job_id)]
    pub jobs: Vec<String>,
    /// Replay jobs of these methods: /package.Service/Method, /package.Service/* or *
    #[arg(long, value_name = "PATTERN")]
    pub method: Option<MethodPattern>,
    /// Replay jobs that were parked for this reason, such as ATTEMPTS_EXHAUSTED
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub reason: Option<String>,
    /// Replay everything
    #[arg(long, conflicts_with_all = ["jobs", "method", "reason"])]
    pub all: bool,
    // More than a hundred would be promised in vain: ten messages are in hand at
    // once, and each is submitted and deleted before the next ten are received.
    /// Jobs per second, 1 to 100
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub rate: u32,
    /// Take at most this many messages in hand
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only list what would be replayed
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object per message, and one with the summary
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub gateway: Gateway,
}

fn queue_url(text: &str) -> Result<String, &'static str> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    is_url.then(|| text.to_owned()).ok_or("expected the URL of an SQS queue")
}

fn job_id(text: &str) -> Result<String, String> {
    JobId::parse_trusted(text).map(|id| id.to_string()).map_err(|error| error.to_string())
}

fn reason(text: &str) -> Result<String, &'static str> {
    let legal = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    let named = !text.is_empty() && text.bytes().all(legal);
    named.then(|| text.to_owned()).ok_or("expected a reason, such as ATTEMPTS_EXHAUSTED")
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    fn parse(rest: &str) -> Result<Cli, clap::Error> {
        let line = format!("queuebridge replay --parking-queue http://h/1/parking {rest}");
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn each_selection_and_every_combination_of_filters_is_understood() {
        let id = format!("AQ{}", "A".repeat(69));
        for good in [
            "--all".to_owned(),
            "--all --callback-queue http://h/1/callbacks".to_owned(),
            "--all --dry-run --json --rate 100 --limit 1 --config f --gateway http://h:1"
                .to_owned(),
            format!("--job {id} --job {id}"),
            "--method /a.B/* --reason DEAD_LETTERED".to_owned(),
            format!("--job {id} --method * --reason A1"),
        ] {
            assert!(parse(&good).is_ok(), "{good}: {}", parse(&good).unwrap_err());
        }
    }

    #[test]
    fn nothing_is_replayed_without_being_named() {
        for bad in [
            "",
            "--dry-run",
            "--limit 5",
            "--all --reason X",
            "--all --method *",
            "--job short",
            "--method a.B",
            "--reason lower",
            "--all --rate 0",
            "--all --rate 101",
            "--all --limit 0",
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
        let url = ["queuebridge", "replay", "--all", "--parking-queue", "parking"];
        assert_eq!(Cli::try_parse_from(url).unwrap_err().exit_code(), 2);
    }
}
