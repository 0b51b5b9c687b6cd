//! The queues and topics of the routes.

use super::{DAY, JobQueue, LONGEST_RETENTION, Reader, Topic};
use crate::config::{Config, Destination, RouteConfig, format_duration};
use crate::infra::Settings;
use crate::infra::names::{self, Ids};
use std::time::Duration;

/// SQS keeps nothing shorter, in seconds.
const SHORTEST_RETENTION: u64 = 60;

struct Routes<'a> {
    reader: &'a mut Reader,
    ids: &'a mut Ids,
    settings: &'a Settings,
    queues: Vec<JobQueue>,
    topics: Vec<Topic>,
}

/// Every queue and every topic once, in the order of the routes.
pub(super) fn read(
    reader: &mut Reader,
    ids: &mut Ids,
    config: &Config,
    settings: &Settings,
) -> (Vec<JobQueue>, Vec<Topic>) {
    let mut routes = Routes { reader, ids, settings, queues: Vec::new(), topics: Vec::new() };
    for (index, route) in config.routes.iter().enumerate() {
        routes.add(&format!("route[{index}]"), route);
    }
    let Routes { queues, topics, .. } = routes;
    for setting in settings.function_timeouts.iter().filter_map(|setting| setting.queue.as_ref()) {
        if !queues.iter().any(|queue| queue.name == *setting) {
            let known: Vec<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
            let problem = format!("there is no queue {setting}");
            reader.complain("--function-timeout", problem, format!("one of {}", known.join(", ")));
        }
    }
    (queues, topics)
}

impl Routes<'_> {
    fn add(&mut self, place: &str, route: &RouteConfig) {
        if route.max_expiry.as_secs() >= LONGEST_RETENTION {
            // On a standard queue a dead letter keeps the time of its first message.
            let problem = format!(
                "{} is as long as dead letters are kept",
                format_duration(route.max_expiry)
            );
            self.reader.complain(&format!("{place}.max_expiry"), problem, "at most 13d");
        }
        let branches = route.fan_out.iter().flat_map(|fan_out| &fan_out.branches);
        match &route.destination {
            Destination::Queue(url) => {
                if let Some(name) = self.reader.queue(&format!("{place}.queue"), url) {
                    self.queue(name, route, &route.methods.to_string(), None);
                }
            }
            Destination::Branches => {
                for (index, branch) in branches.enumerate() {
                    let url = branch.queue.as_deref().unwrap_or_default();
                    let place = format!("{place}.branch[{index}].queue");
                    if let Some(name) = self.reader.queue(&place, url) {
                        let what = format!("{}, branch {}", route.methods, branch.name);
                        self.queue(name, route, &what, None);
                    }
                }
            }
            Destination::Topic(arn) => {
                let Some(topic) = self.reader.topic(&format!("{place}.topic"), arn) else { return };
                let index = self.topic(&topic, route);
                for branch in branches {
                    let name = names::with_suffix(&topic, &branch.name);
                    let what = format!("{}, branch {}", route.methods, branch.name);
                    if !names::is_name(&name, 74) {
                        let problem =
                            format!("the queue of branch {} would be {name}", branch.name);
                        self.reader.complain(&format!("{place}.topic"), problem, "a shorter name");
                    }
                    self.queue(name, route, &what, Some((index, branch.name.clone())));
                }
            }
            Destination::None => {}
        }
    }

    fn topic(&mut self, name: &str, route: &RouteConfig) -> usize {
        let known = self.topics.iter().position(|topic| topic.name == name);
        known.unwrap_or_else(|| {
            let id = self.ids.take(name, &self.settings.name);
            self.topics.push(Topic { id, name: name.to_owned(), what: route.methods.to_string() });
            self.topics.len() - 1
        })
    }

    fn queue(
        &mut self,
        name: String,
        route: &RouteConfig,
        what: &str,
        topic: Option<(usize, String)>,
    ) {
        let retention = route.max_expiry + Duration::from_millis(999);
        let retention = retention.as_secs().clamp(SHORTEST_RETENTION, 13 * DAY);
        if let Some(known) = self.queues.iter_mut().find(|queue| queue.name == name) {
            known.retention = known.retention.max(retention);
            if !known.what.split("; ").any(|one| one == what) {
                known.what.push_str(&format!("; {what}"));
            }
            return;
        }
        let dead = names::with_suffix(&name, "dead");
        if dead.len() > 80 {
            let problem = format!("its dead letter queue would be {dead}");
            self.reader.complain(&name, problem, "a name of at most 75 characters");
        }
        self.queues.push(JobQueue {
            id: self.ids.take(&name, &self.settings.name),
            timeout: self.settings.timeout_of(&name),
            dead,
            what: what.to_owned(),
            retention,
            topic,
            name,
        });
    }
}
