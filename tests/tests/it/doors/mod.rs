//! Every door, every protocol, every kind of call: served, or refused as promised.

mod door;
mod edges;
mod function;
mod gateway;
mod matrix;
mod protocol;
mod trailing;

use bytes::Bytes;

/// A request as a client sends it.
#[derive(Clone, Debug, Default)]
struct Request {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What comes back, header names in lower case.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    fn post(path: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        let (path, body) = (path.into(), body.into());
        let request = Self { method: "POST", path, body, ..Self::default() };
        request.with("content-type", content_type)
    }

    fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), ..Self::default() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
