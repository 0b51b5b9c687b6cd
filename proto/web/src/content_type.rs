//! What the content type of a request says: by RFC 9110, 8.3, case and parameters, such as a
//! character set, change nothing.

use http::{HeaderMap, header};
use queuebridge_proto::error::{self, reason};
use tonic::{Code, Status};

/// The media type of a message, in lower case and without parameters; empty without one.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// How messages stand in the body of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// In the frames of gRPC.
    Grpc(Codec),
    /// The same, with the trailers in a frame.
    GrpcWeb(Codec),
    /// The same, in Base64.
    GrpcWebText(Codec),
    /// One message of Connect.
    Connect,
    /// In the frames of Connect.
    ConnectStream,
}

/// What a message of gRPC is serialized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Proto,
    /// Another one, such as JSON: the services here read Protobuf.
    Other,
}

impl Format {
    /// `None` if the body is that of no protocol here. Codecs of Connect are judged where
    /// it is translated.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = media_type(headers);
        let rest = media_type.strip_prefix("application/")?;
        if rest.starts_with("connect+") {
            return Some(Self::ConnectStream);
        }
        let (name, codec) = match rest.split_once('+') {
            None | Some((_, "proto")) => (rest.split('+').next().unwrap_or_default(), Codec::Proto),
            Some((name, _)) => (name, Codec::Other),
        };
        match (name, rest) {
            (_, "proto" | "json") => Some(Self::Connect),
            ("grpc", _) => Some(Self::Grpc(codec)),
            ("grpc-web", _) => Some(Self::GrpcWeb(codec)),
            ("grpc-web-text", _) => Some(Self::GrpcWebText(codec)),
            _ => None,
        }
    }

    /// Whether the services here read the messages of a call of gRPC or gRPC-Web.
    ///
    /// # Errors
    /// `UNIMPLEMENTED`/`UNKNOWN_CODEC`.
    pub(crate) fn check(headers: &HeaderMap) -> Result<(), Status> {
        match Self::of(headers) {
            Some(
                Self::Grpc(Codec::Other)
                | Self::GrpcWeb(Codec::Other)
                | Self::GrpcWebText(Codec::Other),
            ) => {
                let message = format!(
                    "messages are Protobuf here, and not {}: JSON is taken in Connect, as \
                     application/json",
                    media_type(headers).escape_debug()
                );
                Err(error::status(Code::Unimplemented, reason::UNKNOWN_CODEC, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())])
    }

    #[test]
    fn case_and_parameters_change_nothing() {
        for (content_type, expected) in [
            ("application/grpc", Some(Format::Grpc(Codec::Proto))),
            ("application/grpc+proto", Some(Format::Grpc(Codec::Proto))),
            ("application/grpc+json", Some(Format::Grpc(Codec::Other))),
            ("application/grpc+", Some(Format::Grpc(Codec::Other))),
            ("application/grpc-web", Some(Format::GrpcWeb(Codec::Proto))),
            ("application/grpc-web+thrift", Some(Format::GrpcWeb(Codec::Other))),
            ("application/grpc-web-text+proto", Some(Format::GrpcWebText(Codec::Proto))),
            ("application/grpcx", None),
            ("application/grpc-webx", None),
            ("application/proto", Some(Format::Connect)),
            ("application/json", Some(Format::Connect)),
            ("application/json+proto", None),
            ("application/connect+json", Some(Format::ConnectStream)),
            ("text/plain", None),
            ("", None),
        ] {
            let upper = content_type.to_ascii_uppercase();
            let with = |rest: &str| format!(" {content_type}{rest}");
            for form in [content_type, &upper, &with(";charset=utf-8"), &with(" ; a=\"b;c\"")] {
                assert_eq!(Format::of(&headers(form)), expected, "{form}");
            }
        }
    }

    #[test]
    fn other_codecs_of_grpc_are_refused() {
        for (content_type, code) in [
            ("application/grpc+json", Some(Code::Unimplemented)),
            ("Application/gRPC-Web+Thrift", Some(Code::Unimplemented)),
            ("application/grpc-web-text+json; a=b", Some(Code::Unimplemented)),
            ("application/grpc+Proto", None),
            ("application/json", None),
        ] {
            let checked = Format::check(&headers(content_type)).map_err(|status| status.code());
            assert_eq!(checked.err(), code, "{content_type}");
        }
    }
}
