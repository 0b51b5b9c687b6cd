//! Naming what the library would pass over in silence.

use super::{OtlpProtocol, Reader};
use crate::config::name;
use http::{HeaderName, HeaderValue, Uri};

/// What the settings of an OTLP exporter begin with, and all that is read of them, each
/// also with `TRACES_` in front.
const OTLP: [&str; 7] =
    ["ENDPOINT", "PROTOCOL", "COMPRESSION", "HEADERS", "TIMEOUT", "CERTIFICATE", "INSECURE"];

/// Whole numbers, read by the library.
const NUMBERS: [&str; 6] = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];

/// What else is read.
const READ: [&str; 8] = [
    name::SDK_DISABLED,
    name::TRACES_EXPORTER,
    name::SAMPLER,
    name::SAMPLER_ARG,
    name::PROPAGATORS,
    name::RESOURCE_ATTRIBUTES,
    name::SERVICE,
    // Other programs of the container may be told so; these here are never exported.
    "OTEL_SEMCONV_STABILITY_OPT_IN",
];

/// Propagators whose context is continued: the first by the envelope, the second as
/// metadata of the call, the third by the message's `AWSTraceHeader`.
const PROPAGATORS: [&str; 3] = ["tracecontext", "baggage", "xray"];

impl Reader<'_> {
    /// What is set for an exporter that there is not.
    pub(super) fn name_unused(&mut self) {
        let meant = |name: &&String| {
            let setting = name.strip_prefix(name::OTLP);
            let ours = setting.is_some_and(|setting| !is_for_others(setting));
            (ours || name.starts_with("OTEL_BSP_") || name.starts_with(name::SAMPLER))
                && self.get(name).is_some()
        };
        let unused: Vec<_> = self.variables.keys().filter(meant).map(String::as_str).collect();
        if !unused.is_empty() {
            let (unused, collector) = (unused.join(", "), name::COLLECTOR);
            self.warnings
                .push(format!("{unused}: no traces are exported, because {collector} is not set"));
        }
    }

    /// Checks what the library reads for itself.
    pub(super) fn check(&mut self, protocol: OtlpProtocol) {
        self.check_endpoint(protocol);
        self.check_headers();
        for name in NUMBERS {
            if let Some(value) = self.get(name).filter(|value| value.parse::<u32>().is_err()) {
                self.warn(name, value, "expected a whole number; the default is taken");
            }
        }
        self.check_propagators();
        self.name_unknown();
    }

    fn check_endpoint(&mut self, protocol: OtlpProtocol) {
        let names = [name::TRACES_COLLECTOR, name::COLLECTOR];
        let Some(name) = names.into_iter().find(|name| self.get(name).is_some()) else { return };
        let value = self.get(name).unwrap_or_default();
        let uri: Option<Uri> = value.parse().ok();
        let scheme = uri.as_ref().and_then(|uri| uri.scheme_str());
        let host = uri.as_ref().and_then(|uri| uri.host()).is_some_and(|host| !host.is_empty());
        let spoken = match scheme {
            Some("http" | "https") => host,
            // The library puts one in front.
            None => protocol == OtlpProtocol::Grpc && host,
            Some(_) => false,
        };
        if !spoken {
            // A URL may hold a password.
            let shown = if value.contains('@') { "…" } else { value };
            let port = if protocol == OtlpProtocol::Grpc { 4317 } else { 4318 };
            let expected = format!(
                "expected a URL with `http://` or `https://`, such as http://localhost:{port}; \
                 traces will not arrive"
            );
            self.warn(name, shown, &expected);
        }
    }

    /// The values are secrets.
    fn check_headers(&mut self) {
        let names = [format!("{}TRACES_HEADERS", name::OTLP), format!("{}HEADERS", name::OTLP)];
        let Some(name) = names.into_iter().find(|name| self.get(name).is_some()) else { return };
        let pairs = self.get(&name).unwrap_or_default().split(',').map(str::trim);
        let pairs = pairs.filter(|pair| !pair.is_empty()).enumerate();
        let wrong: Vec<_> = pairs
            .filter(|(_, pair)| !is_header(pair))
            .map(|(at, _)| (at + 1).to_string())
            .collect();
        if !wrong.is_empty() {
            self.warnings.push(format!(
                "{name}: expected `name=value,…`, with `%2C` for a comma in a value; \
                 left out: number {}",
                wrong.join(", ")
            ));
        }
    }

    fn check_propagators(&mut self) {
        let Some(text) = self.get(name::PROPAGATORS) else { return };
        let listed: Vec<_> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let known = |name: &String| PROPAGATORS.contains(&name.as_str());
        if !listed.iter().all(known) || !listed.iter().any(|name| name == PROPAGATORS[0]) {
            let what = "a job carries its trace by `tracecontext` (with `baggage` and `xray` \
                beside it), whatever is listed here; have callers send `traceparent`";
            self.warn(name::PROPAGATORS, text, what);
        }
    }

    /// `key=value,…`, with percent encoding, by the specification of resources.
    pub(super) fn attributes(&mut self) -> Vec<(String, String)> {
        let text = self.get(name::RESOURCE_ATTRIBUTES).unwrap_or_default();
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let (mut attributes, mut wrong) = (Vec::new(), Vec::new());
        for pair in pairs {
            let read = pair.split_once('=').and_then(|(key, value)| {
                let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
                (!key.is_empty()).then_some((key, value))
            });
            match read {
                Some(attribute) => attributes.push(attribute),
                None => wrong.push(pair),
            }
        }
        if !wrong.is_empty() {
            let what = "expected `key=value,…`, with percent encoding; this part is left out";
            self.warn(name::RESOURCE_ATTRIBUTES, &wrong.join(","), what);
        }
        attributes
    }

    fn name_unknown(&mut self) {
        let unknown = |name: &&String| {
            name.starts_with("OTEL_")
                && !is_read(name)
                && self.get(name).is_some_and(|value| {
                    // No other signal is exported, as it says.
                    !(name.ends_with("S_EXPORTER") && value == "none")
                })
        };
        let unknown: Vec<_> = self.variables.keys().filter(unknown).map(String::as_str).collect();
        if !unknown.is_empty() {
            self.warnings.push(format!(
                "{}: not read; a worker exports traces only, README names the settings",
                unknown.join(", ")
            ));
        }
    }
}

fn is_read(name: &str) -> bool {
    let otlp = name
        .strip_prefix(name::OTLP)
        .is_some_and(|setting| OTLP.contains(&setting.strip_prefix("TRACES_").unwrap_or(setting)));
    otlp || NUMBERS.contains(&name) || READ.contains(&name)
}

fn is_for_others(setting: &str) -> bool {
    setting.starts_with("METRICS_") || setting.starts_with("LOGS_")
}

fn is_header(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(name, value)| {
        let (name, value) = (name.trim(), decoded(value.trim()));
        HeaderName::try_from(name).is_ok()
            && value.is_some_and(|v| !v.is_empty() && HeaderValue::try_from(v).is_ok())
    })
}

/// The text with `%XX` read as bytes of UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
