//! The commands of the client.

use super::args::{ClientCommand, Output};
use super::connect::{Jobs, connect};
use super::failure::Failure;
use super::submission::SubmitArgs;
use super::{Exit, download, follow, json, replay, show};
use queuebridge_proto::printable::{self, Printable};
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{CancelRequest, DeleteRequest, Job};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::Request;

/// Longer than the gateway tries to publish.
pub(super) const CALL: Duration = Duration::from_secs(60);

pub(super) async fn run(command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Submit(submit) => run_submit(*submit).await,
        ClientCommand::Get { id, output, gateway } => {
            let mut jobs = connect(&gateway).await?;
            let job = follow::look_up(&mut jobs, &id, Duration::ZERO).await?;
            print(&mut jobs, &job, &output).await?;
            Ok(Exit::of_job(&job))
        }
        ClientCommand::Wait { id, timeout, output, gateway } => {
            let mut jobs = connect(&gateway).await?;
            let job = follow::to_the_end(&mut jobs, &id, timeout).await?;
            print(&mut jobs, &job, &output).await?;
            Ok(Exit::of_job(&job))
        }
        ClientCommand::Replay(args) => replay::run(*args).await,
        ClientCommand::Delete { id, gateway } => {
            let mut request = Request::new(DeleteRequest { id });
            request.set_timeout(CALL);
            connect(&gateway).await?.delete(request).await?;
            Ok(Exit::Success)
        }
        ClientCommand::Cancel { id, output, gateway } => {
            let mut request = Request::new(CancelRequest { id });
            request.set_timeout(CALL);
            let mut jobs = connect(&gateway).await?;
            let job = jobs.cancel(request).await?.into_inner();
            print(&mut jobs, &job, &output).await?;
            Ok(Exit::of_cancellation(&job))
        }
    }
}

/// Waiting is a call of its own, so that the id is known, and shown, even if
/// the waiting breaks off.
async fn run_submit(submit: SubmitArgs) -> Result<Exit, Failure> {
    let mut request = Request::new(submit.request()?);
    request.set_timeout(CALL);
    let mut jobs = connect(&submit.gateway).await?;
    let accepted = jobs.submit(request).await?.into_inner();
    let Some(wait) = submit.wait else {
        print(&mut jobs, &accepted, &submit.output).await?;
        return Ok(Exit::of_submission(&accepted));
    };
    eprintln!("accepted {}", Printable(&accepted.id));
    let job = follow::to_the_end(&mut jobs, &accepted.id, wait).await?;
    print(&mut jobs, &job, &submit.output).await?;
    Ok(Exit::of_job(&job))
}

/// Shows the job, and writes the response where it is wanted.
async fn print(jobs: &mut Jobs, job: &Job, output: &Output) -> Result<(), Failure> {
    let text = text(job, output);
    let stdout = Path::new("-");
    if let (Some(path), Some(Outcome::Response(response))) = (&output.output, &job.outcome) {
        if job.stream.is_some() {
            download::messages(jobs, &job.id, path).await?;
        } else if response.size > response.message.len() as u64 {
            download::to_file(jobs, &job.id, path).await?;
        } else {
            let bytes = &response.message[..];
            let written =
                if path == stdout { to_stdout(bytes) } else { std::fs::write(path, bytes) };
            written.map_err(|error| Failure::File(path.clone(), error))?;
        }
    }
    if output.output.as_deref() == Some(stdout) {
        eprint!("{text}");
        return Ok(());
    }
    to_stdout(text.as_bytes()).map_err(|error| Failure::File(PathBuf::from("-"), error))
}

fn text(job: &Job, output: &Output) -> String {
    match output.json {
        true => printable::json(&format!("{:#}\n", json::job(job))).into_owned(),
        false => show::job(job, output),
    }
}

pub(super) fn to_stdout(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

#[cfg(test)]
mod tests;
