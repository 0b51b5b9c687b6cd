//! Answers that are too large for a message, to a file.

use super::client::to_stdout;
use super::connect::Jobs;
use super::failure::Failure;
use queuebridge_proto::v1::DownloadResultRequest;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes the answer of a job as it comes.
pub(super) async fn to_file(jobs: &mut Jobs, id: &str, path: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::File(path.to_owned(), error);
    let request = DownloadResultRequest { id: id.to_owned(), offset: 0 };
    let mut pieces = jobs.download_result(request).await?.into_inner();
    let mut file = match path.to_str() {
        Some("-") => None,
        _ => Some(File::create(path).map_err(failed)?),
    };
    while let Some(piece) = pieces.message().await? {
        match &mut file {
            Some(file) => file.write_all(&piece.chunk).map_err(failed)?,
            None => to_stdout(&piece.chunk).map_err(failed)?,
        }
    }
    Ok(())
}
