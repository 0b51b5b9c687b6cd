//! Routes with branches: one call, several workers.

use super::reader::{Found, Reader, found};
use super::tables::each_of;
use super::values::{text, time, whole};
use super::{DAY, Destination, Guarantee, RouteConfig, codes};
use crate::fan_out;
use queuebridge_proto::MethodName;
use queuebridge_proto::gather::MAX_BRANCHES;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::{GatherRule, LateBranches, Metadatum, metadatum};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::{Table, Value};

const SECOND: Duration = Duration::from_secs(1);
/// How many subscriptions of a topic may have a filter policy.
const MAX_SUBSCRIPTIONS: usize = 200;
const MAX_NAME: usize = 64;
const BRANCHES: &str = "[[route.branch]] with a `name`, and without a topic with a `queue`";
const NAME: &str = "1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'";

/// To which branches the jobs of a route go, and how their answers are gathered.
#[derive(Clone, Debug, PartialEq)]
pub struct FanOut {
    /// When such a job is finished, unless its submission says otherwise. Default: when
    /// all branches have succeeded.
    pub rule: GatherRule,
    /// The branches, at most 256; over a topic at most 200.
    pub branches: Vec<BranchConfig>,
}

/// One branch.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchConfig {
    /// Its name: 1 to 64 characters of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// The URL of its SQS queue; `None` over a topic, whose subscription for it has the
    /// filter policy `{"qb-branches": ["<name>"]}`.
    pub queue: Option<String>,
    /// The method that is called there. Default: the one that was called here.
    pub method: Option<MethodName>,
    /// The jobs that go to it: those that have for each of these metadata keys one of
    /// its values. Default: all.
    pub when: BTreeMap<String, Vec<String>>,
}

impl BranchConfig {
    /// A branch that takes every job.
    #[must_use]
    pub fn new(name: &str, queue: Option<&str>) -> Self {
        let queue = queue.map(str::to_owned);
        Self { name: name.to_owned(), queue, method: None, when: BTreeMap::new() }
    }

    /// Whether a job with this metadata goes to it.
    #[must_use]
    pub fn takes(&self, metadata: &[Metadatum]) -> bool {
        self.when.iter().all(|(key, values)| {
            metadata.iter().filter(|entry| entry.key == *key).any(|entry| match &entry.value {
                Some(metadatum::Value::Ascii(value)) => values.contains(value),
                _ => false,
            })
        })
    }
}

/// Reads the branches of a route, if it has any.
pub(super) fn read(reader: &mut Reader, route: &RouteConfig) -> Option<FanOut> {
    let rule = rule(reader);
    let branches = branches(reader, route)?;
    let rule = rule.unwrap_or_default();
    let names: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
    let claimed = route.guarantee == Guarantee::Claimed;
    if let Err((key, problem)) = fan_out::check_rule(&rule, &names, claimed) {
        reader.complain(reader.at(&format!("gather.{key}")), problem, "a rule that can be met");
    }
    if fan_out::deadline_of(&rule).is_some_and(|deadline| deadline > route.max_expiry) {
        let problem = "it is longer than max_expiry";
        reader.complain(reader.at("gather.deadline"), problem, "at most max_expiry");
    }
    let fifo = branches.iter().filter_map(|branch| branch.queue.as_deref());
    let fifo: Vec<bool> = fifo.map(|queue| queue.ends_with(".fifo")).collect();
    if fifo.contains(&true) && fifo.contains(&false) {
        let problem = "some queues are FIFO and some are not";
        reader.complain(reader.at("branch"), problem, "queues of one kind");
    }
    Some(FanOut { rule, branches })
}

fn rule(reader: &mut Reader) -> Option<GatherRule> {
    let mut rule = GatherRule::default();
    let mut given = false;
    let mut take = |value: Option<u32>| given |= value.is_some();
    let need = reader.read("gather.need", need);
    take(need);
    rule.need = need.unwrap_or_default();
    let deadline = reader.read("gather.deadline", time(SECOND..=DAY * 14));
    rule.deadline = deadline.map(duration_to_proto);
    reader.set("gather.partial", &mut rule.partial, super::read::yes_or_no);
    if let Some(codes) = codes::read(reader, "gather.success_codes", |_| true) {
        rule.success_codes = codes.into_iter().map(i32::from).collect();
    }
    let late = [("keep", LateBranches::Keep), ("ignore", LateBranches::Ignore)];
    if let Some(late) = reader.read("gather.late_branches", super::values::word(&late)) {
        rule.set_late_branches(late);
    }
    reader.set("gather.cancel_rest", &mut rule.cancel_rest, super::read::yes_or_no);
    let primary = reader.read("gather.primary", text(NAME, branch_name));
    let merge = reader.read("gather.merge", super::read::yes_or_no).unwrap_or_default();
    if primary.is_some() && merge {
        let problem = "there is a primary branch as well";
        reader.complain(reader.at("gather.merge"), problem, "only one of the two");
    }
    rule.answer = primary.map(Answer::Primary).or(merge.then_some(Answer::Merge(true)));
    (given || rule != GatherRule::default()).then_some(rule)
}

fn need(value: &Value) -> Result<u32, String> {
    match value.as_str() {
        Some("all") => Ok(0),
        Some("any") => Ok(1),
        _ => whole(1..=256u32)(value).map_err(|number| format!("\"all\", \"any\" or {number}")),
    }
}

fn branches(reader: &mut Reader, route: &RouteConfig) -> Option<Vec<BranchConfig>> {
    let Found { place, value } = reader.take("branch")?;
    let Value::Array(list) = value else {
        reader.complain(place, found(&value), BRANCHES);
        return None;
    };
    let topic = matches!(route.destination, Destination::Topic(_));
    if matches!(route.destination, Destination::Queue(_)) {
        let problem = "the route has one queue for all";
        reader.complain(&place, problem, "a topic, or a queue for each branch");
    }
    let most = if topic { MAX_SUBSCRIPTIONS } else { MAX_BRANCHES };
    if list.is_empty() || list.len() > most {
        reader.complain(&place, format!("there are {}", list.len()), format!("1 to {most}"));
    }
    Some(each_of(reader, &place, list, |inner, before: &[BranchConfig]| {
        let branch = branch(inner, topic)?;
        if before.iter().any(|other| other.name == branch.name) {
            let problem = format!("there is a branch {} already", branch.name);
            inner.complain(inner.at("name"), problem, "a name of its own");
        }
        Some(branch)
    }))
}

fn branch(reader: &mut Reader, topic: bool) -> Option<BranchConfig> {
    let name = reader.read("name", text(NAME, branch_name));
    let url = |text: &str| super::read::is_queue_url(text).then(|| text.to_owned());
    let queue = reader.read("queue", text("the URL of an SQS queue", url));
    match (topic, &queue) {
        (true, Some(_)) => {
            let problem = "the topic's subscription says it";
            reader.complain(reader.at("queue"), problem, "no such key");
        }
        (false, None) => reader.missing("queue", "the URL of an SQS queue"),
        _ => {}
    }
    let method = |text: &str| MethodName::parse(text).ok();
    let method = reader.read("method", text("\"/package.Service/Method\"", method));
    let when = reader.read("when", conditions).unwrap_or_default();
    let Some(name) = name else {
        reader.missing("name", NAME);
        return None;
    };
    Some(BranchConfig { name, queue, method, when })
}

/// A name that needs no quoting in a filter policy, nor in the worker's environment.
fn branch_name(text: &str) -> Option<String> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    ((1..=MAX_NAME).contains(&text.len()) && text.bytes().all(legal)).then(|| text.to_owned())
}

fn conditions(value: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
    let expected = "metadata keys with their values, such as { plan = [\"gold\", \"silver\"] }";
    let condition = |(key, values): (&String, &Value)| {
        let key_is_right = !key.is_empty() && !key.ends_with("-bin") && *key == key.to_lowercase();
        let values = match values {
            Value::String(text) => Some(vec![text.clone()]),
            values => values.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        };
        values
            .filter(|values: &Vec<String>| key_is_right && !values.is_empty())
            .map(|v| (key.clone(), v))
    };
    let table: Option<&Table> = value.as_table();
    table.and_then(|table| table.iter().map(condition).collect()).ok_or_else(|| expected.to_owned())
}
