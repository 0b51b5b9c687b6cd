//! Answers that are in no job, because they are too large or streamed, to a file.

use super::client::to_stdout;
use super::connect::Jobs;
use super::failure::Failure;
use prost::encoding::encode_varint;
use queuebridge_proto::v1::{DownloadResultRequest, ReadStreamRequest};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes the answer of a job as it comes.
pub(super) async fn to_file(jobs: &mut Jobs, id: &str, path: &Path) -> Result<(), Failure> {
    let request = DownloadResultRequest { id: id.to_owned(), offset: 0 };
    let mut pieces = jobs.download_result(request).await?.into_inner();
    let mut target = Target::open(path)?;
    while let Some(piece) = pieces.message().await? {
        target.write(&piece.chunk)?;
    }
    Ok(())
}

/// Writes the messages of a streamed answer, each after its length as a varint: the
/// delimited form of Protobuf's libraries, such as `parseDelimitedFrom`.
pub(super) async fn messages(jobs: &mut Jobs, id: &str, path: &Path) -> Result<(), Failure> {
    let request = ReadStreamRequest { id: id.to_owned(), ..ReadStreamRequest::default() };
    let mut messages = jobs.read_stream(request).await?.into_inner();
    let mut target = Target::open(path)?;
    while let Some(next) = messages.message().await? {
        let mut delimited = Vec::with_capacity(next.message.len() + 10);
        encode_varint(next.message.len() as u64, &mut delimited);
        delimited.extend_from_slice(&next.message);
        target.write(&delimited)?;
    }
    Ok(())
}

/// A file, or with "-" the standard output.
struct Target<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> Target<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let create = || File::create(path).map_err(|error| Failure::File(path.to_owned(), error));
        let file = (path != Path::new("-")).then(create).transpose()?;
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => to_stdout(bytes),
        };
        written.map_err(|error| Failure::File(self.path.to_owned(), error))
    }
}
