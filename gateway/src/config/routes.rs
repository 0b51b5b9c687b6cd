//! Reading the list of routes.

use super::read::{is_queue_url, yes_or_no};
use super::reader::{Found, Reader, found};
use super::tables::each_of;
use super::values::{bytes, time, whole, word};
use super::{DAY, Destination, Guarantee, LeasePolicy, MethodPattern, RouteConfig};
use super::{callbacks, calls, codes, fan_out, upstream};
use std::time::Duration;
use toml::{Table, Value};
use tonic::Code;

const MIB: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

const ROUTES: &str = "at least one [[route]] with `methods` and `queue`, `topic` or `upstream`";

/// All routes.
pub(super) fn read(reader: &mut Reader) -> Vec<RouteConfig> {
    let Some(Found { place, value }) = reader.take("route") else {
        reader.missing("route", ROUTES);
        return vec![];
    };
    let list = match value {
        Value::String(text) => match list(&text) {
            Ok(list) => list,
            Err(problem) => {
                let expected = "a TOML list of inline tables, or the same in JSON";
                reader.complain(place, problem, expected);
                return vec![];
            }
        },
        Value::Array(list) => list,
        other => {
            reader.complain(place, found(&other), ROUTES);
            return vec![];
        }
    };
    if list.is_empty() {
        reader.complain(&place, "there is none", ROUTES);
    }
    each_of(reader, &place, list, |inner, before: &[RouteConfig]| {
        let route = route(inner)?;
        if before.iter().any(|other| other.methods == route.methods) {
            let problem = format!("{} has a route already", route.methods);
            inner.complain(inner.at("methods"), problem, "one route per pattern");
        }
        Some(route)
    })
}

/// The routes in a variable: JSON, or the value of a TOML key.
fn list(text: &str) -> Result<Vec<Value>, String> {
    if let Ok(list) = serde_json::from_str(text) {
        return Ok(list);
    }
    let mut table: Table = toml::from_str(&format!("routes = {text}"))
        .map_err(|error| error.message().trim().to_owned())?;
    match table.remove("routes") {
        Some(Value::Array(list)) => Ok(list),
        _ => Err("not a list".to_owned()),
    }
}

fn route(reader: &mut Reader) -> Option<RouteConfig> {
    let pattern = "\"/package.Service/Method\", \"/package.Service/*\" or \"*\"";
    let methods = match reader.take("methods") {
        None => {
            reader.missing("methods", pattern);
            None
        }
        Some(Found { place, value }) => {
            let parsed = value.as_str().and_then(|text| text.parse::<MethodPattern>().ok());
            if parsed.is_none() {
                reader.complain(place, found(&value), pattern);
            }
            parsed
        }
    };
    let (branches, has_upstream) = (reader.has("branch"), reader.has("upstream"));
    let of_jobs = upstream::keys_of_jobs(reader);
    let upstream = upstream::read(reader);
    let destination = destination(reader, branches, has_upstream);
    // The rest is read in any case, so that its mistakes are reported as well.
    let stand_in = Destination::Queue(String::new());
    let complete = methods.is_some() && destination.is_some() && upstream.is_some() == has_upstream;
    let methods = methods.unwrap_or(MethodPattern::All);
    let mut route = RouteConfig::new(methods, destination.unwrap_or(stand_in));
    route.upstream = upstream;
    let guarantees = [Guarantee::Claimed, Guarantee::AtLeastOnce].map(|g| (g.name(), g));
    reader.set("guarantee", &mut route.guarantee, word(&guarantees));
    let policies = [LeasePolicy::Retry, LeasePolicy::Fail, LeasePolicy::Hold];
    if let Some(policy) = reader.read("lease_policy", word(&policies.map(|p| (p.name(), p)))) {
        route.lease_policy = policy;
        if route.guarantee == Guarantee::AtLeastOnce {
            let problem = "at_least_once takes no lease";
            reader.complain(reader.at("lease_policy"), problem, "no such key, or \"claimed\"");
        }
    }
    reader.set("max_attempts", &mut route.max_attempts, whole(1..=100));
    if let Some(codes) = codes::read(reader, "retry_on", |code| code != Code::Ok) {
        route.retry_on = codes;
    }
    let request_bytes = reader.read("max_request_bytes", bytes(1..=64 * MIB));
    route.max_request_bytes = request_bytes;
    route.inline_request_bytes = reader.read("inline_request_bytes", bytes(0..=64 * MIB));
    reader.set("announce", &mut route.announce, yes_or_no);
    route.callback = reader.read("callback", callbacks::told);
    times(reader, &mut route);
    route.fan_out = fan_out::read(reader, &route);
    route.calls = calls::read(reader);
    upstream::check(reader, &route, &of_jobs);
    if route.guarantee == Guarantee::AtLeastOnce && route.is_fifo() {
        let problem = "at_least_once keeps no order, and the destination is FIFO";
        reader.complain(reader.at("guarantee"), problem, "\"claimed\"");
    }
    complete.then_some(route)
}

/// Where the jobs of a route go. It has none when all its calls go upstream.
fn destination(reader: &mut Reader, branches: bool, upstream: bool) -> Option<Destination> {
    let is_topic = |t: &str| t.starts_with("arn:") && t.split(':').nth(2) == Some("sns");
    let (has_queue, queue) = name(reader, "queue", "the URL of an SQS queue", is_queue_url);
    let (has_topic, topic) = name(reader, "topic", "the ARN of an SNS topic", is_topic);
    match (has_queue, has_topic) {
        (true, true) => {
            reader.complain(reader.at("topic"), "there is a queue as well", "only one of the two");
            None
        }
        (false, false) if branches => Some(Destination::Branches),
        (false, false) if upstream => Some(Destination::None),
        (false, false) => {
            reader.missing("queue", "a queue, a topic or an upstream");
            None
        }
        _ => queue.map(Destination::Queue).or(topic.map(Destination::Topic)),
    }
}

/// Whether the name is given, and the name if it is right.
fn name(
    reader: &mut Reader,
    path: &'static str,
    expected: &str,
    is_right: impl Fn(&str) -> bool,
) -> (bool, Option<String>) {
    let Some(Found { place, value }) = reader.take(path) else { return (false, None) };
    match value {
        Value::String(text) if is_right(&text) => (true, Some(text)),
        other => {
            reader.complain(place, found(&other), expected);
            (true, None)
        }
    }
}

/// The pairs of times: where only the upper one is given and lies below the
/// default of the lower one, the lower one follows.
fn times(reader: &mut Reader, route: &mut RouteConfig) {
    let half_day = HOUR * 12;
    pair(
        reader,
        ["initial_backoff", "max_backoff"],
        [&mut route.initial_backoff, &mut route.max_backoff],
        [Duration::ZERO, half_day],
    );
    pair(
        reader,
        ["default_expiry", "max_expiry"],
        [&mut route.default_expiry, &mut route.max_expiry],
        [SECOND, DAY * 14],
    );
    pair(
        reader,
        ["default_retention", "max_retention"],
        [&mut route.default_retention, &mut route.max_retention],
        [SECOND, DAY * 3650],
    );
}

fn pair(
    reader: &mut Reader,
    [low, high]: [&'static str; 2],
    [lower, upper]: [&mut Duration; 2],
    [least, most]: [Duration; 2],
) {
    reader.set(high, upper, time(least..=most));
    match reader.read(low, time(least..=most)) {
        Some(given) if given > *upper => {
            let problem = format!("it is longer than {high}");
            reader.complain(reader.at(low), problem, format!("at most {high}"));
        }
        Some(given) => *lower = given,
        None => *lower = (*lower).min(*upper),
    }
}
