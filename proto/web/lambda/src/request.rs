//! From event to request.

use crate::event::{Event, Request as HttpEvent, Source};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{COOKIE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};
use lambda_runtime::Error;
use std::net::{IpAddr, SocketAddr};

/// Where a request came from, as the service in front of the function has seen it. An
/// extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceIp(pub IpAddr);

/// The request of an event.
pub(crate) fn of<R>(request: HttpEvent<R>) -> Result<Request<Bytes>, Error> {
    let HttpEvent { event, source } = request;
    let (mut request, address) = match source {
        Source::Alb => {
            let request = from_alb(event)?;
            let address = last_hop(request.headers());
            (request, address)
        }
        Source::V2 { method, source_ip, stage, .. } => {
            (from_v2(event, &method, stage.as_deref())?, source_ip)
        }
    };
    if let Some(address) = address {
        request.extensions_mut().insert(SourceIp(address));
    }
    Ok(request)
}

/// Whom the load balancer has seen: it appends the address. What stands before it may
/// be made up. It may be told to add the port.
fn last_hop(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    last.parse().ok().or_else(|| last.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// From a load balancer. Its query strings are not decoded, so they are put
/// together as they came.
fn from_alb<R>(event: Event<R>) -> Result<Request<Bytes>, Error> {
    let pairs: Vec<String> =
        match (&event.multi_value_query_string_parameters, &event.query_string_parameters) {
            (Some(all), _) => {
                all.iter().flat_map(|(k, vs)| vs.iter().map(move |v| format!("{k}={v}"))).collect()
            }
            (None, Some(one)) => one
                .iter()
                .map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or_default()))
                .collect(),
            (None, None) => Vec::new(),
        };
    let method = event.http_method.clone().unwrap_or_default();
    let path = event.path.clone().unwrap_or_default();
    request(event, &method, &path, &pairs.join("&"))
}

/// From an HTTP API or a Function URL.
fn from_v2<R>(
    mut event: Event<R>,
    method: &str,
    stage: Option<&str>,
) -> Result<Request<Bytes>, Error> {
    let path = event.raw_path.take().unwrap_or_default();
    let query = event.raw_query_string.take().unwrap_or_default();
    request(event, method, without_stage(&path, stage), &query)
}

/// The path behind a named stage. Behind a mapped domain the stage is no part of it.
fn without_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

fn request<R>(
    mut event: Event<R>,
    method: &str,
    path: &str,
    query: &str,
) -> Result<Request<Bytes>, Error> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
    let headers = headers(&mut event);
    let body = match (event.body.take(), event.is_base64_encoded) {
        (None, _) => Bytes::new(),
        (Some(text), false) => text.into(),
        (Some(text), true) => {
            STANDARD.decode(text).map_err(|_| "the event's body is not Base64")?.into()
        }
    };
    let mut request =
        Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(uri).body(body)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Names come in any case, and several values of one name joined by commas, or as
/// a list. What is no header is left out.
fn headers<R>(event: &mut Event<R>) -> HeaderMap {
    let multiple = event.multi_value_headers.take();
    let single = event.headers.take().filter(|_| multiple.is_none()).unwrap_or_default();
    let single = single.into_iter().filter_map(|(name, value)| Some((name, vec![value?])));
    let mut headers = HeaderMap::new();
    for (name, values) in multiple.unwrap_or_default().into_iter().chain(single) {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        for value in &values {
            // Base64 has no comma; other values may.
            let parts: Vec<&str> = match name.as_str().ends_with("-bin") {
                true => value.split(',').map(str::trim).collect(),
                false => vec![value],
            };
            for part in parts {
                if let Ok(value) = HeaderValue::from_str(part) {
                    headers.append(name.clone(), value);
                }
            }
        }
    }
    if let Some(cookies) = event.cookies.take().filter(|cookies| !cookies.is_empty())
        && let Ok(value) = HeaderValue::from_str(&cookies.join("; "))
    {
        headers.insert(COOKIE, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use serde::de::IgnoredAny;

    fn event(document: &str) -> Event<IgnoredAny> {
        serde_json::from_str(document).unwrap()
    }

    /// Where the request of a document came from.
    fn address(document: &str) -> Option<IpAddr> {
        let Ok(Kind::Request(request)) = event(document).kind() else { panic!("{document}") };
        of(*request).unwrap().extensions().get().map(|SourceIp(address)| *address)
    }

    #[test]
    fn the_address_is_what_the_service_in_front_has_seen_and_not_what_the_caller_says() {
        let alb = |hops: &str| {
            let headers = format!(r#"{{"x-forwarded-for": "{hops}"}}"#);
            address(&format!(
                r#"{{"requestContext": {{"elb": {{}}}}, "httpMethod": "GET", "headers": {headers}}}"#
            ))
        };
        let seen: Option<IpAddr> = "192.0.2.7".parse().ok();
        assert_eq!(alb("192.0.2.7"), seen);
        assert_eq!(alb("10.0.0.1, 192.0.2.7"), seen);
        assert_eq!(alb("10.0.0.1,192.0.2.7:4711"), seen);
        assert_eq!(alb("[2001:db8::1]:4711"), "2001:db8::1".parse().ok());
        assert_eq!(alb("10.0.0.1, unknown"), None);
        let v2 = |http: &str| {
            let headers = r#"{"x-forwarded-for": "10.0.0.1"}"#;
            address(&format!(
                r#"{{"requestContext": {{"http": {http}}}, "rawPath": "/", "headers": {headers}}}"#
            ))
        };
        assert_eq!(v2(r#"{"method": "GET", "sourceIp": "192.0.2.7"}"#), seen);
        assert_eq!(v2(r#"{"method": "GET"}"#), None);
    }

    #[test]
    fn a_load_balancers_query_stays_as_it_was_encoded() {
        let single = r#"{"httpMethod": "GET", "path": "/a.B/C",
            "queryStringParameters": {"message": "%7B%7D"}, "headers": {"X-A": "1"}}"#;
        let request = from_alb(event(single)).unwrap();
        assert_eq!(request.uri(), "/a.B/C?message=%7B%7D");
        assert_eq!(request.headers()["x-a"], "1");
        let multi = r#"{"httpMethod": "POST", "path": "/a.B/C", "isBase64Encoded": true,
            "body": "AAE=", "multiValueQueryStringParameters": {"k": ["1", "2"]},
            "multiValueHeaders": {"x-a": ["1", "2"], "x-b-bin": ["AQ", "Ag"]}}"#;
        let request = from_alb(event(multi)).unwrap();
        assert_eq!(request.uri(), "/a.B/C?k=1&k=2");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(request.body().as_ref(), [0, 1]);
    }

    #[test]
    fn a_named_stage_is_no_part_of_the_method() {
        let path = |raw: &str, stage: &str| {
            let context = format!(r#"{{"http": {{"method": "POST"}}, "stage": "{stage}"}}"#);
            let document = format!(r#"{{"rawPath": "{raw}", "requestContext": {context}}}"#);
            let Ok(Kind::Request(request)) = event(&document).kind() else { panic!("{raw}") };
            of(*request).unwrap().uri().path().to_owned()
        };
        assert_eq!(path("/prod/pkg.Service/Method", "prod"), "/pkg.Service/Method");
        assert_eq!(path("/prod", "prod"), "/");
        assert_eq!(path("/pkg.Service/Method", "$default"), "/pkg.Service/Method");
        // Behind a mapped domain.
        assert_eq!(path("/pkg.Service/Method", "prod"), "/pkg.Service/Method");
        assert_eq!(path("/production.Service/Method", "prod"), "/production.Service/Method");
        assert_eq!(path("/prod/prod/M", "prod"), "/prod/M");
    }

    #[test]
    fn joined_binary_values_are_taken_apart_and_cookies_put_together() {
        let v2 = r#"{"rawPath": "/a.B/C", "rawQueryString": "a=b",
            "headers": {"x-b-bin": "AQ,Ag", "x-a": "1,2"}, "cookies": ["a=1", "b=2"]}"#;
        let request = from_v2(event(v2), "POST", None).unwrap();
        assert_eq!(request.uri(), "/a.B/C?a=b");
        assert_eq!(request.headers().get_all("x-b-bin").iter().count(), 2);
        assert_eq!(request.headers()["x-a"], "1,2");
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
    }

    #[test]
    fn what_is_no_request_is_an_error_and_no_panic() {
        let bad = r#"{"rawPath": "/", "isBase64Encoded": true, "body": "!"}"#;
        assert!(from_v2(event(bad), "POST", None).is_err());
        assert!(from_v2(event("{}"), "NOT A METHOD", None).is_err());
        assert!(from_v2(event(r#"{"rawPath": "/\u0000"}"#), "GET", None).is_err());
        let odd = r#"{"rawPath": "a", "headers": {"bad name": "x", "x": "a\nb", "y": null}}"#;
        assert!(from_v2(event(odd), "GET", None).unwrap().headers().is_empty());
    }
}
