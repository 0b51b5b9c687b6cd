//! `submit`: from arguments to the request.

use super::args::{Gateway, Output};
use super::failure::Failure;
use super::gather::GatherArgs;
use crate::config::parse_duration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use queuebridge_proto::MethodName;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::submit_request::Expiry;
use queuebridge_proto::v1::{Metadatum, SubmitRequest, metadatum};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The arguments of `submit`.
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The method: /package.Service/Method
    #[arg(long, value_parser = method)]
    pub method: String,
    /// File with the serialized request message, "-" for the standard input;
    /// without any data the message is empty
    #[arg(long, value_name = "FILE", conflicts_with = "data_base64")]
    pub file: Option<PathBuf>,
    /// The serialized request message in Base64
    #[arg(long, value_name = "BASE64", value_parser = base64)]
    pub data_base64: Option<Decoded>,
    /// Metadata for the handler, repeatable; the value of a key that ends in
    /// -bin is Base64
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = metadatum)]
    pub metadata: Vec<Metadatum>,
    /// Makes the submission idempotent
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub request_id: String,
    /// Submits once more what may not have been taken: the token of that error
    #[arg(
        long,
        value_name = "TOKEN",
        allow_hyphen_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub resubmit_token: String,
    /// For how long the work is wanted: 90s, 5m, 12h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub expire_after: Option<Duration>,
    /// How long the result is kept after completion
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub retention: Option<Duration>,
    /// Deliver not before this much time from now
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// Jobs with the same key run one after the other
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub ordering_key: String,
    /// Wait this long for the result
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub gather: GatherArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: Output,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub gateway: Gateway,
}

impl SubmitArgs {
    /// The request, with the bytes of its file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn request(&self) -> Result<SubmitRequest, Failure> {
        let bytes = match (&self.file, &self.data_base64) {
            (Some(file), _) => read(file)?,
            (None, Some(data)) => data.0.clone(),
            (None, None) => vec![],
        };
        Ok(SubmitRequest {
            method: self.method.clone(),
            request: bytes.into(),
            metadata: self.metadata.clone(),
            request_id: self.request_id.clone(),
            resubmit_token: self.resubmit_token.clone(),
            expiry: self.expire_after.map(|time| Expiry::ExpireAfter(duration_to_proto(time))),
            result_retention: self.retention.map(duration_to_proto),
            delay: self.delay.map(duration_to_proto),
            ordering_key: self.ordering_key.clone(),
            gather: self.gather.rule(),
            branches: self.gather.branches.clone(),
            ..SubmitRequest::default()
        })
    }
}

/// Bytes that were Base64 on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded(Vec<u8>);

fn base64(text: &str) -> Result<Decoded, &'static str> {
    STANDARD.decode(text).map(Decoded).map_err(|_| "expected Base64 of the standard alphabet")
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = vec![];
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    bytes.map_err(|error| Failure::File(path.to_owned(), error))
}

fn method(text: &str) -> Result<String, &'static str> {
    MethodName::parse(text).map(|name| name.as_str().to_owned())
}

fn metadatum(text: &str) -> Result<Metadatum, &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let value = if key.ends_with("-bin") {
        let bytes = STANDARD.decode(value).map_err(|_| "the value of a -bin key is Base64")?;
        metadatum::Value::Binary(bytes.into())
    } else {
        metadatum::Value::Ascii(value.to_owned())
    };
    let entry = Metadatum { key: key.to_owned(), value: Some(value) };
    queuebridge_proto::metadata::check(std::slice::from_ref(&entry)).map_err(|(_, rule)| rule)?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, ClientCommand, Command};
    use clap::Parser;
    use metadatum::Value;
    use queuebridge_proto::v1::GatherRule;

    fn submit(arguments: &[&str]) -> SubmitArgs {
        let start = ["queuebridge", "submit", "--method", "/a.B/C"];
        match Cli::try_parse_from(start.iter().chain(arguments)).unwrap().command {
            Command::Client(command) => match *command {
                ClientCommand::Submit(submit) => *submit,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_argument_reaches_the_request() {
        let arguments = [
            "--data-base64",
            "AAH/",
            "--metadata",
            "k=a=b",
            "--metadata",
            "x-bin=AAE=",
            "--request-id",
            "r",
            "--resubmit-token",
            "-t",
            "--expire-after",
            "10m",
            "--retention",
            "1d",
            "--delay",
            "5s",
            "--ordering-key",
            "o",
            "--need",
            "any",
            "--deadline",
            "9s",
            "--branch",
            "b",
        ];
        let request = submit(&arguments).request().unwrap();
        assert_eq!((request.method.as_str(), &request.request[..]), ("/a.B/C", &[0, 1, 255][..]));
        assert_eq!(request.metadata[0].value, Some(Value::Ascii("a=b".into())));
        assert_eq!(request.metadata[1].value, Some(Value::Binary(vec![0, 1].into())));
        assert_eq!((request.request_id.as_str(), request.ordering_key.as_str()), ("r", "o"));
        assert_eq!(request.resubmit_token, "-t");
        let seconds = |seconds| duration_to_proto(Duration::from_secs(seconds));
        assert_eq!(request.expiry, Some(Expiry::ExpireAfter(seconds(600))));
        assert_eq!(request.result_retention, Some(seconds(86_400)));
        assert_eq!((request.delay, request.wait), (Some(seconds(5)), None));
        let any = GatherRule { need: 1, deadline: Some(seconds(9)), ..GatherRule::default() };
        assert_eq!((request.gather, request.branches), (Some(any), vec!["b".to_owned()]));
    }

    #[test]
    fn without_data_the_message_is_empty_and_the_route_decides_the_rest() {
        let request = submit(&[]).request().unwrap();
        assert_eq!(request, SubmitRequest { method: "/a.B/C".into(), ..SubmitRequest::default() });
    }

    #[test]
    fn a_file_that_cannot_be_read_is_wrong_usage() {
        let failure = submit(&["--file", "/nowhere/at/all"]).request().unwrap_err();
        assert!(failure.to_string().starts_with("/nowhere/at/all: "));
        assert_eq!(failure.exit(), crate::cli::Exit::Usage);
    }

    #[test]
    fn metadata_keeps_the_rules_of_the_contract() {
        for bad in ["k", "K=v", "grpc-timeout=1S", "x-bin=***", "=v"] {
            assert!(metadatum(bad).is_err(), "{bad}");
        }
    }
}
