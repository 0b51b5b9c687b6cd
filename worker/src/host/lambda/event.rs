//! What an invocation is about. Events do not say their kind, so one pass over
//! the document reads what any of them may hold.

use aws_lambda_events::event::sqs::SqsMessage;
use lambda_runtime::Error;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;

/// An event of any kind that has a door here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    #[serde(rename = "Records")]
    records: Option<Vec<SqsMessage>>,
    request_context: Option<RequestContext>,
    pub(super) http_method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) raw_path: Option<String>,
    pub(super) raw_query_string: Option<String>,
    pub(super) query_string_parameters: Option<HashMap<String, Option<String>>>,
    pub(super) multi_value_query_string_parameters: Option<HashMap<String, Vec<String>>>,
    pub(super) headers: Option<HashMap<String, Option<String>>>,
    pub(super) multi_value_headers: Option<HashMap<String, Vec<String>>>,
    pub(super) cookies: Option<Vec<String>>,
    pub(super) body: Option<String>,
    pub(super) is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    elb: Option<IgnoredAny>,
    http: Option<Http>,
    domain_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Http {
    method: String,
}

/// The kinds of events.
#[derive(Debug)]
pub(super) enum Kind {
    /// A batch of an SQS event source.
    Sqs(Vec<SqsMessage>),
    /// A request through an Application Load Balancer.
    Alb(Event),
    /// A request in the payload format 2.0: an HTTP API, or a Function URL.
    V2 {
        /// The request.
        event: Event,
        /// Its method, which stands apart.
        method: String,
        /// Whether it came through a Function URL.
        function_url: bool,
    },
}

impl Event {
    /// Says what kind it is.
    ///
    /// # Errors
    /// When it is none that has a door here: the event source must know.
    pub(super) fn kind(mut self) -> Result<Kind, Error> {
        if let Some(records) = self.records.take() {
            let of_sqs = |record: &SqsMessage| {
                record.event_source.as_deref().is_none_or(|source| source == "aws:sqs")
            };
            return match records.iter().find(|record| !of_sqs(record)) {
                None => Ok(Kind::Sqs(records)),
                Some(other) => {
                    let source = other.event_source.as_deref().unwrap_or_default();
                    Err(format!("records of {source} have no door here, those of aws:sqs do")
                        .into())
                }
            };
        }
        match self.request_context.take() {
            Some(RequestContext { elb: Some(_), .. }) => Ok(Kind::Alb(self)),
            Some(RequestContext { http: Some(http), domain_name, .. }) => {
                let domain = domain_name.unwrap_or_default();
                let function_url = domain.is_empty() || domain.contains(".lambda-url.");
                Ok(Kind::V2 { event: self, method: http.method, function_url })
            }
            _ => Err("expected an event of SQS, an Application Load Balancer, an HTTP API in \
                      payload format 2.0, or a Function URL"
                .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(document: &str) -> Result<Kind, Error> {
        serde_json::from_str::<Event>(document).unwrap().kind()
    }

    #[test]
    fn events_are_told_apart() {
        let sqs = r#"{"Records": [{"messageId": "1", "eventSource": "aws:sqs"}]}"#;
        assert!(matches!(kind(sqs), Ok(Kind::Sqs(records)) if records.len() == 1));
        assert!(matches!(kind(r#"{"Records": []}"#), Ok(Kind::Sqs(_))));
        let alb = r#"{"requestContext": {"elb": {"targetGroupArn": "a"}}, "httpMethod": "GET"}"#;
        assert!(matches!(kind(alb), Ok(Kind::Alb(_))));
        let v2 = |domain: &str| {
            let context = format!(r#"{{"http": {{"method": "POST"}}, "domainName": "{domain}"}}"#);
            kind(&format!(r#"{{"version": "2.0", "requestContext": {context}}}"#))
        };
        let url = v2("abc.lambda-url.eu-central-1.on.aws");
        assert!(matches!(url, Ok(Kind::V2 { function_url: true, .. })));
        let api = v2("abc.execute-api.eu-central-1.amazonaws.com");
        assert!(matches!(api, Ok(Kind::V2 { function_url: false, .. })));
    }

    #[test]
    fn what_has_no_door_is_an_error_that_says_what_has() {
        let s3 = r#"{"Records": [{"eventSource": "aws:s3"}]}"#;
        assert!(kind(s3).unwrap_err().to_string().contains("aws:s3"));
        for other in ["{}", r#"{"requestContext": {}}"#, r#"{"version": "1.0"}"#] {
            assert!(kind(other).unwrap_err().to_string().contains("SQS"), "{other}");
        }
    }
}
