//! Waiting for a job, with its progress on a terminal.

use super::connect::Jobs;
use super::failure::Failure;
use super::show::state_name;
use queuebridge_proto::printable::Printable;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::{GetResultRequest, Job};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Request;

/// One look-up waits this long when nobody watches, and is then repeated.
const UNWATCHED: Duration = Duration::from_secs(60);
/// And this long when somebody does: so often the line changes.
const WATCHED: Duration = Duration::from_secs(1);
/// The pause after a look-up that did not wait: a gateway that is being taken
/// down answers at once, and should not be asked in a tight circle.
const PAUSE: Duration = Duration::from_millis(500);
/// A look-up is given up this long after it should have answered.
const GRACE: Duration = Duration::from_secs(10);

/// Looks a job up once, waiting for its end up to `wait`.
pub(super) async fn look_up(jobs: &mut Jobs, id: &str, wait: Duration) -> Result<Job, Failure> {
    let wait_field = (!wait.is_zero()).then(|| duration_to_proto(wait));
    let mut request = Request::new(GetResultRequest { id: id.to_owned(), wait: wait_field });
    request.set_timeout(wait + GRACE);
    Ok(jobs.get_result(request).await?.into_inner())
}

/// Waits until the job is finished, or until the time is up; answers the job as
/// it then stands.
pub(super) async fn to_the_end(
    jobs: &mut Jobs,
    id: &str,
    timeout: Duration,
) -> Result<Job, Failure> {
    let begun = Instant::now();
    let line = Line::of_terminal();
    loop {
        let asked = Instant::now();
        let left = timeout.saturating_sub(begun.elapsed());
        let wait = left.min(if line.watched { WATCHED } else { UNWATCHED });
        let job = look_up(jobs, id, wait).await;
        let left = timeout.saturating_sub(begun.elapsed());
        match job {
            Ok(job) if job.outcome.is_none() && !left.is_zero() => {
                line.update(&job);
                if asked.elapsed() < wait / 2 {
                    sleep(PAUSE.min(left)).await;
                }
            }
            end => {
                line.clear();
                return end;
            }
        }
    }
}

/// The line on the terminal, if the standard error is one.
struct Line {
    watched: bool,
}

impl Line {
    fn of_terminal() -> Self {
        Self { watched: std::io::stderr().is_terminal() }
    }

    fn update(&self, job: &Job) {
        if self.watched {
            write_error(&format!("\r\x1b[K{}", describe(job)));
        }
    }

    fn clear(&self) {
        if self.watched {
            write_error("\r\x1b[K");
        }
    }
}

/// A terminal that cannot be written to is no reason to stop waiting.
fn write_error(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// State, attempt and the beginning of what the handler said, in one line.
fn describe(job: &Job) -> String {
    let mut text = state_name(job.state()).to_owned();
    if job.attempt > 0 {
        text.push_str(&format!("  attempt {}", job.attempt));
    }
    if let Some(progress) = &job.progress {
        let message: String = Printable(&progress.message).to_string().chars().take(50).collect();
        text.push_str(&format!("  {:.0} %  {message}", progress.fraction * 100.0));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::v1::{Progress, State};

    #[test]
    fn the_line_tells_what_is_known_and_obeys_nobody() {
        let mut job = Job { state: State::Accepted.into(), ..Job::default() };
        assert_eq!(describe(&job), "ACCEPTED");
        job.set_state(State::Running);
        job.attempt = 2;
        let message = "page 3\x1b[2J\n\u{202e}".into();
        job.progress = Some(Progress { fraction: 0.256, message, ..Progress::default() });
        assert_eq!(describe(&job), "RUNNING  attempt 2  26 %  page 3\\u{1b}[2J\\n\\u{202e}");
    }
}
