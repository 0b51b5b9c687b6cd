//! What a replay prints: a line for each message, and a summary.

use super::parked::Parked;
use super::submit::Stays;
use crate::cli::json::{Object, timestamp};
use crate::cli::show::state_name;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::printable::{self, Printable};
use queuebridge_proto::v1::{Job, State};
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// What became of a selected message.
pub(super) enum Done {
    /// It would be replayed.
    Listed,
    /// It is a new job, and is gone from the parking queue.
    Replayed(Box<Job>),
    /// Its callback is in the callback queue again, and gone from the parking queue.
    CalledBack,
    /// It is a new job, and could not be deleted, for this reason: the next
    /// replay finds the same job.
    NotDeleted(Box<Job>, String),
    /// It stays parked.
    Stays(Stays),
}

/// The sums of a replay.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) replayed: u64,
    pub(super) listed: u64,
    /// Selected, and still parked.
    pub(super) stayed: u64,
    pub(super) not_selected: u64,
    /// Jobs that were asked for and are not there, once all has been seen.
    pub(super) missing: Vec<String>,
    /// Whether all that is parked was seen.
    pub(super) complete: bool,
}

impl Done {
    fn name(&self) -> &'static str {
        match self {
            Self::Listed => "LISTED",
            Self::Replayed(_) => "REPLAYED",
            Self::CalledBack => "CALLED_BACK",
            Self::NotDeleted(..) => "NOT_DELETED",
            Self::Stays(_) => "STAYS_PARKED",
        }
    }

    fn new_job(&self) -> Option<&Job> {
        match self {
            Self::Replayed(job) | Self::NotDeleted(job, _) => Some(job),
            Self::Listed | Self::CalledBack | Self::Stays(_) => None,
        }
    }

    fn error(&self) -> String {
        match self {
            Self::NotDeleted(_, error) => error.clone(),
            Self::Stays(why) => why.to_string(),
            Self::Listed | Self::CalledBack | Self::Replayed(_) => String::new(),
        }
    }
}

impl Summary {
    /// Counts what became of a message.
    pub(super) fn count(&mut self, done: &Done) {
        match done {
            Done::Listed => self.listed += 1,
            Done::Replayed(_) | Done::CalledBack => self.replayed += 1,
            Done::NotDeleted(..) => {
                self.replayed += 1;
                self.stayed += 1;
            }
            Done::Stays(_) => self.stayed += 1,
        }
    }

    /// As one line of text or JSON.
    pub(super) fn line(&self, as_json: bool) -> String {
        if as_json {
            let mut sums = Object::default();
            sums.put("replayed", Some(self.replayed));
            sums.put("listed", Some(self.listed));
            sums.put("stayedParked", Some(self.stayed));
            sums.put("notSelected", Some(self.not_selected));
            sums.list("missingJobs", &self.missing, |job| job.as_str().into());
            sums.put("complete", Some(self.complete));
            let mut line = Object::default();
            line.put("summary", Some(sums.finish()));
            return one_line(&line.finish());
        }
        let mut line = format!(
            "{} replayed, {} listed, {} stay parked, {} not selected",
            self.replayed, self.listed, self.stayed, self.not_selected
        );
        for job in &self.missing {
            // Writing to a string cannot fail.
            let _ = write!(line, "\nno parked message of the job {job}");
        }
        if !self.complete {
            line.push_str("\nnot everything that is parked was looked at");
        }
        line
    }
}

/// A message and what became of it, as one line of text or JSON.
pub(super) fn line(parked: &Parked, done: &Done, now: UnixMillis, as_json: bool) -> String {
    if as_json { one_line(&json(parked, done, now)) } else { text(parked, done, now) }
}

fn one_line(object: &Value) -> String {
    printable::json(&object.to_string()).into_owned()
}

fn json(parked: &Parked, done: &Done, now: UnixMillis) -> Value {
    let mut line = Object::default();
    line.text("status", done.name());
    line.text("messageId", &parked.message_id);
    line.text("job", &parked.job);
    line.text("method", &parked.method);
    line.text("reason", &parked.reason);
    line.put("parkTime", parked.parked_at.map(|at| timestamp(&at.to_proto())));
    line.put("age", parked.parked_at.map(|at| format!("{}s", at.until(now).as_secs())));
    if let Some(job) = done.new_job() {
        line.text("newJob", &job.id);
        line.text("newState", job.state().as_str_name());
    }
    line.text("error", &done.error());
    line.finish()
}

fn text(parked: &Parked, done: &Done, now: UnixMillis) -> String {
    let mut line = match parked.job.as_str() {
        "" => format!("message {}", parked.message_id),
        job => job.to_owned(),
    };
    let known = [&parked.method, &parked.reason];
    known.into_iter().filter(|text| !text.is_empty()).for_each(|text| {
        line.push_str("  ");
        line.push_str(text);
    });
    // Writing to a string cannot fail.
    if let Some(at) = parked.parked_at {
        let _ = write!(line, "  {} ({} ago)", timestamp(&at.to_proto()), age(at.until(now)));
    }
    if let Some(job) = done.new_job() {
        let _ = write!(line, "  replayed as {}", job.id);
        // A job of an earlier replay, which this one only attached to.
        if job.state() > State::Accepted {
            let _ = write!(line, ", {} by now", state_name(job.state()));
        }
    }
    let _ = match done {
        Done::Listed | Done::Replayed(_) => Ok(()),
        Done::CalledBack => write!(line, "  is called back again"),
        Done::NotDeleted(_, error) => write!(line, "  stays parked: not deleted: {error}"),
        Done::Stays(why) => write!(line, "  stays parked: {why}"),
    };
    // One message, one line: everybody who can write into the queue has a say in it.
    Printable(line).to_string()
}

/// Cut to the largest unit.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parked::tests::{call, keys, opened, received};
    use super::*;
    use queuebridge_proto::{EnvelopeError, envelope};
    use serde_json::json;

    const NOW: UnixMillis = UnixMillis(1_700_000_095_000);

    fn job(id: &str, state: State) -> Box<Job> {
        Box::new(Job { id: id.into(), state: state.into(), ..Job::default() })
    }

    fn parked() -> Parked {
        opened(received(envelope::seal(&call(), &keys())))
    }

    fn unreadable() -> Parked {
        let mut message = received("{}".into());
        message.attributes = [("qb-parked".into(), "UNDEC\x1b[2J\n\u{202e}ODABLE".into())].into();
        opened(message)
    }

    #[test]
    fn each_end_is_one_line_of_text() {
        let start = "job  /a.B/C  DEAD_LETTERED  2023-11-14T22:13:20Z (1m ago)";
        let text = |done| line(&parked(), &done, NOW, false);
        assert_eq!(text(Done::Listed), start);
        let new = text(Done::Replayed(job("new", State::Accepted)));
        assert_eq!(new, format!("{start}  replayed as new"));
        let again = text(Done::Replayed(job("new", State::Failed)));
        assert_eq!(again, format!("{start}  replayed as new, FAILED by now"));
        let both = text(Done::NotDeleted(job("new", State::Accepted), "gone\naway".into()));
        assert!(
            both.ends_with("replayed as new  stays parked: not deleted: gone\\naway"),
            "{both}"
        );
        let stays = Done::Stays(Stays::Unreadable(EnvelopeError::Undecodable.into()));
        let stays = line(&unreadable(), &stays, NOW, false);
        let start = "message m  UNDEC\\u{1b}[2J\\n\\u{202e}ODABLE  ";
        assert!(stays.starts_with(start), "{stays}");
        assert!(stays.ends_with("  stays parked: the body is not an envelope"), "{stays}");
    }

    #[test]
    fn each_end_is_one_object() {
        let object = |parked: &Parked, done| -> Value {
            let line = line(parked, &done, NOW, true);
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
            serde_json::from_str(&line).unwrap()
        };
        assert_eq!(
            object(&parked(), Done::Replayed(job("new", State::Accepted))),
            json!({
                "status": "REPLAYED",
                "messageId": "m",
                "job": "job",
                "method": "/a.B/C",
                "reason": "DEAD_LETTERED",
                "parkTime": "2023-11-14T22:13:20Z",
                "age": "95s",
                "newJob": "new",
                "newState": "STATE_ACCEPTED",
            })
        );
        let stays = Done::Stays(Stays::Unreadable(EnvelopeError::Unauthentic.into()));
        let stays = object(&unreadable(), stays);
        assert_eq!(stays["status"], "STAYS_PARKED");
        assert_eq!(stays["error"], "the envelope is not authentic");
        assert_eq!(stays.get("job"), None);
        assert_eq!(stays["reason"], "UNDEC\x1b[2J\n\u{202e}ODABLE");
    }

    #[test]
    fn the_summary_counts_a_message_that_was_not_deleted_as_both() {
        let mut summary = Summary { not_selected: 4, complete: true, ..Summary::default() };
        for done in [
            Done::Listed,
            Done::Replayed(job("a", State::Accepted)),
            Done::NotDeleted(job("b", State::Accepted), String::new()),
            Done::Stays(Stays::NoPayloadStore),
        ] {
            summary.count(&done);
        }
        let expected = "2 replayed, 1 listed, 2 stay parked, 4 not selected";
        assert_eq!(summary.line(false), expected);
        summary.missing = vec!["x".into()];
        summary.complete = false;
        assert_eq!(summary.line(false).lines().count(), 3);
        assert_eq!(
            serde_json::from_str::<Value>(&summary.line(true)).unwrap(),
            json!({"summary": {
                "replayed": 2,
                "listed": 1,
                "stayedParked": 2,
                "notSelected": 4,
                "missingJobs": ["x"],
                "complete": false,
            }})
        );
    }

    #[test]
    fn an_age_has_one_unit() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000];
        let shown = ages.map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "11d"]);
    }
}
