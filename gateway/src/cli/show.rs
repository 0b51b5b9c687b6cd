//! A job as text for people.

use super::args::Output;
use super::gather;
use super::json::{base64, timestamp};
use crate::config::code_name;
use queuebridge_proto::printable::Printable;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Job, Metadatum, State, metadatum::Value};
use std::fmt::Write;

/// The state without the prefix that Protobuf's style asks for.
pub(super) fn state_name(state: State) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("STATE_").unwrap_or(name)
}

/// One line per field that is set.
pub(super) fn job(job: &Job, output: &Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10}{}", Printable(value));
    };
    line("id", &job.id);
    line("method", &job.method);
    line("state", state_name(job.state()));
    for (name, time) in [
        ("submitted", &job.submit_time),
        ("started", &job.start_time),
        ("completed", &job.complete_time),
        ("expires", &job.expire_time),
        ("purges", &job.purge_time),
    ] {
        if let Some(time) = time {
            line(name, &timestamp(time));
        }
    }
    if job.attempt > 0 {
        line("attempt", &job.attempt.to_string());
    }
    // Of a job that is finished it says no more how far the work is.
    if let (Some(progress), None) = (&job.progress, &job.outcome) {
        line("progress", &format!("{:.0} %  {}", progress.fraction * 100.0, progress.message));
    }
    if job.cancel_requested {
        line("cancel", "requested");
    }
    if !job.retry_of.is_empty() {
        line("retry of", &job.retry_of);
    }
    for (name, entries) in
        [("initial", &job.initial_metadata), ("trailing", &job.trailing_metadata)]
    {
        entries.iter().for_each(|entry| line(name, &metadatum(entry)));
    }
    if let Some(gather) = &job.gather {
        gather::lines(gather).iter().for_each(|(name, value)| line(name, value));
    }
    match (&job.outcome, &job.stream) {
        (Some(Outcome::Response(_)), Some(stream)) => {
            let place = match &output.output {
                Some(path) => {
                    format!("each after its length, written to {}", path.display())
                }
                None => "--output FILE writes each after its length".to_owned(),
            };
            let size = format!("{} messages, {} bytes", stream.messages, stream.size);
            line("response", &format!("{size} ({place})"));
        }
        (Some(Outcome::Response(response)), None) => {
            let bytes = response.size.max(response.message.len() as u64);
            let place = match &output.output {
                Some(path) => format!("{bytes} bytes, written to {}", path.display()),
                None => format!("{bytes} bytes (--output FILE writes them)"),
            };
            line("response", &place);
        }
        (Some(Outcome::Error(status)), _) => {
            let code = code_name(tonic::Code::from_i32(status.code));
            line("error", &format!("{code}: {}", status.message));
        }
        (None, _) => {}
    }
    text
}

fn metadatum(entry: &Metadatum) -> String {
    match &entry.value {
        Some(Value::Ascii(text)) => format!("{}={text}", entry.key),
        Some(Value::Binary(bytes)) => format!("{}={}", entry.key, base64(bytes)),
        None => entry.key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::v1::{Progress, Response};

    #[test]
    fn only_what_is_set_is_shown() {
        let mut shown = Job { id: "abc".into(), method: "/a.B/C".into(), ..Job::default() };
        shown.set_state(State::Accepted);
        let output = Output::default();
        assert_eq!(job(&shown, &output), "id        abc\nmethod    /a.B/C\nstate     ACCEPTED\n");
        shown.progress = Some(Progress { fraction: 0.8, ..Progress::default() });
        assert!(job(&shown, &output).contains("\nprogress  80 %"));
        shown.set_state(State::Succeeded);
        shown.outcome =
            Some(Outcome::Response(Response { message: vec![1, 2].into(), ..Response::default() }));
        let text = job(&shown, &output);
        assert!(text.ends_with("response  2 bytes (--output FILE writes them)\n"));
        assert!(!text.contains("progress"), "it is finished: {text}");
        let status =
            tonic_types::Status { code: 3, message: "no\x1b[2J\u{202e}".into(), details: vec![] };
        shown.outcome = Some(Outcome::Error(status));
        assert!(
            job(&shown, &output).ends_with("error     INVALID_ARGUMENT: no\\u{1b}[2J\\u{202e}\n")
        );
    }
}
