//! What an invocation is about. Events do not say their kind, so one pass over
//! the document reads what any of them may hold.

use crate::{foreign, request};
use bytes::Bytes;
use lambda_runtime::Error;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqAccessDeserializer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

/// The stage of an HTTP API that is no part of paths.
const DEFAULT_STAGE: &str = "$default";

/// An event of any kind that has a door in one of the programs. `R` is a record of an
/// event source that sends several at once.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self", bound(deserialize = "R: Deserialize<'de>"))]
pub struct Event<R> {
    #[serde(rename = "Records")]
    records: Option<Vec<R>>,
    /// What other services call their events by.
    pub(crate) source: Option<Value>,
    #[serde(rename = "detail-type")]
    pub(crate) detail_type: Option<IgnoredAny>,
    pub(crate) awslogs: Option<IgnoredAny>,
    pub(crate) event_source: Option<Value>,
    pub(crate) delivery_stream_arn: Option<IgnoredAny>,
    /// Whether it is of a connection that stays open.
    #[serde(skip)]
    pub(crate) connection_id: bool,
    request_context: Option<RequestContext>,
    pub(crate) http_method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) raw_path: Option<String>,
    pub(crate) raw_query_string: Option<String>,
    pub(crate) query_string_parameters: Option<HashMap<String, Option<String>>>,
    pub(crate) multi_value_query_string_parameters: Option<HashMap<String, Vec<String>>>,
    pub(crate) headers: Option<HashMap<String, Option<String>>>,
    pub(crate) multi_value_headers: Option<HashMap<String, Vec<String>>>,
    pub(crate) cookies: Option<Vec<String>>,
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    elb: Option<IgnoredAny>,
    http: Option<Http>,
    domain_name: Option<String>,
    stage: Option<String>,
    connection_id: Option<IgnoredAny>,
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Event<R> {
    fn deserialize<D: Deserializer<'de>>(document: D) -> Result<Self, D::Error> {
        document.deserialize_any(Documents(PhantomData))
    }
}

/// The forms that an event may have: an object, or the bare list of records that a pipe
/// of EventBridge hands on.
struct Documents<R>(PhantomData<R>);

impl<'de, R: Deserialize<'de>> Visitor<'de> for Documents<R> {
    type Value = Event<R>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an event, or a list of messages of SQS")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Event<R>, A::Error> {
        Event::<R>::deserialize(MapAccessDeserializer::new(fields)).map_err(unreadable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Event<R>, A::Error> {
        let records = Vec::deserialize(SeqAccessDeserializer::new(list)).map_err(unreadable)?;
        // Of an object without anything else.
        let nothing = MapDeserializer::<_, A::Error>::new(std::iter::empty::<(String, bool)>());
        let event = Event::<R>::deserialize(nothing)?;
        Ok(Event { records: Some(records), ..event })
    }
}

fn unreadable<E: serde::de::Error>(error: E) -> E {
    let what = format!("something that cannot be read ({error})");
    E::custom(foreign::message(&what, "see how the function is invoked"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<String>,
}

/// A record of any event source, for a program that takes none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnyRecord {
    /// Where it comes from, such as `aws:sqs`; SNS writes it with a capital letter.
    #[serde(alias = "EventSource")]
    pub event_source: Option<String>,
}

/// The kinds of events.
#[derive(Debug)]
pub enum Kind<R> {
    /// A batch of records.
    Records(Vec<R>),
    /// An HTTP request.
    Request(Box<Request<R>>),
}

/// An HTTP request as an event.
#[derive(Debug)]
pub struct Request<R> {
    pub(crate) event: Event<R>,
    pub(crate) source: Source,
}

impl<R> Request<R> {
    /// Whether it comes as from an HTTP API: in its format, and not through a Function URL.
    #[must_use]
    pub fn is_of_http_api(&self) -> bool {
        matches!(self.source, Source::V2 { function_url: false, .. })
    }

    /// As HTTP.
    ///
    /// # Errors
    /// When it cannot be one.
    pub fn into_http(self) -> Result<http::Request<Bytes>, Error> {
        request::of(self)
    }
}

/// Who has made the event of a request.
#[derive(Debug)]
pub(crate) enum Source {
    /// An Application Load Balancer.
    Alb,
    /// Who speaks the payload format 2.0: an HTTP API, or a Function URL.
    V2 {
        /// The request's method, which stands apart.
        method: String,
        /// Where the request came from.
        source_ip: Option<IpAddr>,
        /// Whether it came through a Function URL.
        function_url: bool,
        /// The stage, which the path begins with. `None`: the default one, which it does not.
        stage: Option<String>,
    },
}

impl<R> Event<R> {
    /// Says what kind it is.
    ///
    /// # Errors
    /// When it is none of the kinds: the event source must know.
    pub fn kind(mut self) -> Result<Kind<R>, Error> {
        if let Some(records) = self.records.take() {
            return Ok(Kind::Records(records));
        }
        let context = self.request_context.take();
        self.connection_id = context.as_ref().is_some_and(|it| it.connection_id.is_some());
        let source = match context {
            Some(RequestContext { elb: Some(_), .. }) => Source::Alb,
            Some(RequestContext { http: Some(http), domain_name, stage, .. }) => {
                let domain = domain_name.unwrap_or_default();
                let function_url = domain.is_empty() || domain.contains(".lambda-url.");
                let source_ip = http.source_ip.and_then(|text| text.parse().ok());
                let stage = stage.filter(|stage| !stage.is_empty() && stage != DEFAULT_STAGE);
                Source::V2 { method: http.method, source_ip, function_url, stage }
            }
            _ => return Err(foreign::other(&self).into()),
        };
        Ok(Kind::Request(Box::new(Request { event: self, source })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(document: &str) -> Result<Kind<IgnoredAny>, Error> {
        serde_json::from_str::<Event<IgnoredAny>>(document).unwrap().kind()
    }

    fn request(document: &str) -> Box<Request<IgnoredAny>> {
        match kind(document) {
            Ok(Kind::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_are_told_apart() {
        let sqs = r#"{"Records": [{"messageId": "1", "eventSource": "aws:sqs"}]}"#;
        assert!(matches!(kind(sqs), Ok(Kind::Records(records)) if records.len() == 1));
        assert!(matches!(kind(r#"{"Records": []}"#), Ok(Kind::Records(_))));
        let alb = r#"{"requestContext": {"elb": {"targetGroupArn": "a"}}, "httpMethod": "GET"}"#;
        assert!(matches!(request(alb).source, Source::Alb));
        assert!(!request(alb).is_of_http_api());
        let v2 = |domain: &str| {
            let http = r#"{"method": "POST", "sourceIp": "192.0.2.7"}"#;
            let context = format!(r#"{{"http": {http}, "domainName": "{domain}"}}"#);
            let v2 = request(&format!(r#"{{"version": "2.0", "requestContext": {context}}}"#));
            let of_http_api = v2.is_of_http_api();
            match v2.source {
                Source::V2 { source_ip, .. } => (of_http_api, source_ip),
                Source::Alb => panic!("it is no load balancer"),
            }
        };
        let address = "192.0.2.7".parse().ok();
        assert_eq!(v2("abc.lambda-url.eu-central-1.on.aws"), (false, address));
        assert_eq!(v2("abc.execute-api.eu-central-1.amazonaws.com"), (true, address));
    }

    #[test]
    fn a_pipe_hands_on_a_bare_list() {
        let list = r#"[{"messageId": "1", "eventSource": "aws:sqs"}, {"messageId": "2"}]"#;
        assert!(matches!(kind(list), Ok(Kind::Records(records)) if records.len() == 2));
        assert!(matches!(kind("[]"), Ok(Kind::Records(records)) if records.is_empty()));
    }

    #[test]
    fn what_is_none_of_them_is_an_error_that_says_what_it_is_and_the_way_out() {
        for (other, received, way_out) in [
            ("{}", "no known kind", "how the function is invoked"),
            (r#"{"requestContext": {}}"#, "no known kind", "how the function is invoked"),
            (
                r#"{"version": "1.0", "resource": "/", "path": "/", "httpMethod": "GET",
                    "requestContext": {"stage": "x"}}"#,
                "REST API",
                "payload format 2.0",
            ),
            (
                r#"{"requestContext": {"connectionId": "x", "routeKey": "$default"}}"#,
                "WebSocket",
                "payload format 2.0",
            ),
            (
                r#"{"version": "0", "detail-type": "Scheduled Event", "source": "aws.events",
                    "detail": {}}"#,
                "EventBridge, from aws.events",
                "submit jobs at a gateway",
            ),
            (r#"{"awslogs": {"data": "x"}}"#, "CloudWatch Logs", "submit jobs"),
            (r#"{"eventSource": "aws:kafka", "records": {}}"#, "aws:kafka", "submit jobs"),
            (r#"{"deliveryStreamArn": "x", "records": []}"#, "Firehose", "submit jobs"),
        ] {
            let error = kind(other).unwrap_err().to_string();
            for part in [received, way_out, "Function URL", "SQS"] {
                assert!(error.contains(part), "{other}: {error}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_in_the_same_words() {
        for other in [r#"{"body": {"a": 1}}"#, r#"{"Records": 7}"#] {
            let error = serde_json::from_str::<Event<IgnoredAny>>(other).unwrap_err().to_string();
            assert!(error.contains("cannot be read") && error.contains("SQS"), "{error}");
        }
        for other in ["7", "\"x\"", "null"] {
            let error = serde_json::from_str::<Event<IgnoredAny>>(other).unwrap_err().to_string();
            assert!(error.contains("messages of SQS"), "{error}");
        }
    }
}
