//! What an invocation is about. Events do not say their kind, so one pass over
//! the document reads what any of them may hold.

use crate::request;
use bytes::Bytes;
use lambda_runtime::Error;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use std::net::IpAddr;

/// An event of any kind that has a door in one of the programs. `R` is a record of an
/// event source that sends several at once.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "R: Deserialize<'de>"))]
pub struct Event<R> {
    #[serde(rename = "Records")]
    records: Option<Vec<R>>,
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
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<String>,
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
        let source = match self.request_context.take() {
            Some(RequestContext { elb: Some(_), .. }) => Source::Alb,
            Some(RequestContext { http: Some(http), domain_name, .. }) => {
                let domain = domain_name.unwrap_or_default();
                let function_url = domain.is_empty() || domain.contains(".lambda-url.");
                let source_ip = http.source_ip.and_then(|text| text.parse().ok());
                Source::V2 { method: http.method, source_ip, function_url }
            }
            _ => {
                return Err("expected an event of an Application Load Balancer, an HTTP API in \
                            payload format 2.0, a Function URL, or of SQS where jobs are run"
                    .into());
            }
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
    fn what_is_none_of_them_is_an_error_that_says_what_is() {
        for other in ["{}", r#"{"requestContext": {}}"#, r#"{"version": "1.0"}"#] {
            assert!(kind(other).unwrap_err().to_string().contains("SQS"), "{other}");
        }
    }
}
