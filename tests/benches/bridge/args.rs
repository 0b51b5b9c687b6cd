//! What a run measures, and for how long.

use crate::Failure;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const HELP: &str = "\
just bench [ARGUMENTS]
  --only LIST       of a, b, c, d, e, f, g, h, i, memory, with commas; default: all
  --seconds N       of each measurement; default 10
  --warm-up N       seconds before each measurement; default 2
  --rounds N        interleaved; their median is shown; default 3
  --callers N       that call at once; default 64
  --connections N   that they share; default 4
  --jobs N          of `memory`; default 1000000
(a) a bare tonic echo, which b, c and d need, (b) embedded Submit, (c) embedded
Submit and result, (d) Submit over an endpoint beside the bare AWS SDK, (e) from
Submit to the answer by each way in which it finds its caller, (f) jobs with
branches beside single ones, (g) calls of methods beside the same service called
without the bridge, (h) calls while others flood the port, (i) what
encryption adds to an envelope.";

/// What can be asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Echo,
    Submit,
    Result,
    Endpoint,
    Answers,
    Branches,
    Direct,
    Abuse,
    Encryption,
    Memory,
}

impl FromStr for Group {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "a" => Self::Echo,
            "b" => Self::Submit,
            "c" => Self::Result,
            "d" => Self::Endpoint,
            "e" => Self::Answers,
            "f" => Self::Branches,
            "g" => Self::Direct,
            "h" => Self::Abuse,
            "i" => Self::Encryption,
            "memory" => Self::Memory,
            other => {
                let known = "a, b, c, d, e, f, g, h, i and memory";
                return Err(format!("--only knows {known}, not {other}").into());
            }
        })
    }
}

pub(crate) struct Args {
    pub(crate) measure: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) rounds: usize,
    pub(crate) callers: usize,
    pub(crate) connections: usize,
    pub(crate) jobs: u64,
    only: Vec<Group>,
}

impl Args {
    /// The arguments; nothing when help is asked for.
    pub(crate) fn parse(given: &[String]) -> Result<Option<Self>, Failure> {
        let mut args = Self {
            measure: Duration::from_secs(10),
            warm_up: Duration::from_secs(2),
            rounds: 3,
            callers: 64,
            connections: 4,
            jobs: 1_000_000,
            only: Vec::new(),
        };
        let mut rest = given.iter();
        while let Some(name) = rest.next() {
            if name == "--bench" {
                continue;
            }
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let value = rest.next().ok_or_else(|| format!("{name} has no value; see --help"))?;
            match name.as_str() {
                "--only" => {
                    args.only = value.split(',').map(Group::from_str).collect::<Result<_, _>>()?;
                }
                "--seconds" => args.measure = Duration::from_secs(positive(name, value)?),
                "--warm-up" => args.warm_up = Duration::from_secs(positive(name, value)?),
                "--rounds" => args.rounds = usize::try_from(positive(name, value)?)?,
                "--callers" => args.callers = usize::try_from(positive(name, value)?)?,
                "--connections" => args.connections = usize::try_from(positive(name, value)?)?,
                "--jobs" => args.jobs = positive(name, value)?,
                _ => return Err(format!("{name} is unknown; see --help").into()),
            }
        }
        Ok(Some(args))
    }

    /// Whether this is to be measured. The echo is what the others are compared
    /// with.
    pub(crate) fn runs(&self, group: Group) -> bool {
        let compared = [Group::Submit, Group::Result, Group::Endpoint];
        self.only.is_empty()
            || self.only.contains(&group)
            || (group == Group::Echo && compared.iter().any(|group| self.only.contains(group)))
    }
}

fn positive(name: &str, value: &str) -> Result<u64, Failure> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name} {value}: expected a whole number above 0").into()),
    }
}
