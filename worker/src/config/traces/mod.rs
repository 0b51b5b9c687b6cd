//! The settings of traces: OpenTelemetry's standard variables.
//!
//! Its library reads most of them, and passes over what it does not know before anything
//! can be logged. Here each is read first: what is not honoured is named by a warning.
//! By the specification, a wrong value counts as one that is not set.

mod check;

use super::name;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one export may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How traces are exported. The address for HTTP and the headers are read by the library of
/// OpenTelemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesConfig {
    /// How the collector is spoken to.
    pub protocol: OtlpProtocol,
    /// Whether exports are compressed with gzip.
    pub gzip: bool,
    /// How long one export may take.
    pub timeout: Duration,
    /// The collector's address for gRPC, with a scheme.
    pub endpoint: String,
    /// The file of the certificates (PEM) that the collector is checked by, instead of
    /// those of the system.
    pub certificate: Option<String>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// The name of the service, if it has one.
    pub service: Option<String>,
    /// What else `OTEL_RESOURCE_ATTRIBUTES` says of the process.
    pub attributes: Vec<(String, String)>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// `grpc`; collectors have it at port 4317.
    Grpc,
    /// `http/protobuf`; collectors have it at port 4318.
    HttpProtobuf,
    /// `http/json`; collectors have it at port 4318.
    HttpJson,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The decision of the caller holds, if there is one.
    pub parent_based: bool,
    /// The part of the other traces that is recorded, from 0 to 1.
    pub ratio: f64,
}

/// Reads how traces are exported; `None` if they are not. What is not honoured is added to
/// the warnings.
pub(super) fn traces(
    variables: &BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) -> Option<TracesConfig> {
    let mut reader = Reader { variables, warnings };
    let disabled = reader.boolean(name::SDK_DISABLED);
    let exporters = reader.get(name::TRACES_EXPORTER).map(str::to_ascii_lowercase);
    let mut exporters: Vec<_> =
        exporters.iter().flat_map(|text| text.split(',')).map(str::trim).collect();
    exporters.retain(|exporter| !exporter.is_empty());
    if disabled || exporters.contains(&"none") {
        return None;
    }
    let others: Vec<_> = exporters.iter().filter(|exporter| **exporter != "otlp").collect();
    for other in &others {
        reader.warn(name::TRACES_EXPORTER, other, "expected `otlp` or `none`; traces can only be sent to a collector, such as one with a `debug` exporter");
    }
    let collector = reader.get(name::TRACES_COLLECTOR).or(reader.get(name::COLLECTOR));
    if collector.is_none() && !exporters.contains(&"otlp") {
        reader.name_unused();
        return None;
    }
    let mut attributes = reader.attributes();
    let named = attributes.extract_if(.., |(key, _)| key == "service.name").last();
    let service = reader.get(name::SERVICE).map(str::to_owned);
    let config = TracesConfig {
        protocol: reader.protocol(),
        gzip: reader.gzip(),
        timeout: reader.timeout(),
        endpoint: reader.endpoint(collector.unwrap_or("http://localhost:4317")),
        certificate: reader.certificate(),
        sampler: reader.sampler(),
        service: service.or(named.map(|(_, name)| name)),
        attributes,
    };
    reader.check(config.protocol);
    Some(config)
}

/// Reads the variables, and keeps what is to be said about them.
struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    /// A variable that is empty counts as one that is not set.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn warn(&mut self, name: &str, value: &str, what: &str) {
        self.warnings.push(format!("{name}={value}: {what}"));
    }

    /// The first value that can be read: that for traces comes before the general one.
    fn first<T>(
        &mut self,
        setting: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        for name in [format!("{}TRACES_{setting}", name::OTLP), format!("{}{setting}", name::OTLP)]
        {
            let Some(value) = self.get(&name) else { continue };
            match read(value) {
                Some(read) => return Some(read),
                None => self.warn(&name, value, expected),
            }
        }
        None
    }

    fn boolean(&mut self, name: &str) -> bool {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.warn(name, other, "expected `true` or `false`; it counts as `false`");
                false
            }
        }
    }

    fn protocol(&mut self) -> OtlpProtocol {
        let expected = "expected `grpc`, `http/protobuf` or `http/json`; \
            `http/protobuf` is spoken, unless another variable says otherwise";
        let read = |text: &str| match text.to_ascii_lowercase().as_str() {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
            "http/json" => Some(OtlpProtocol::HttpJson),
            _ => None,
        };
        self.first("PROTOCOL", expected, read).unwrap_or(OtlpProtocol::HttpProtobuf)
    }

    fn gzip(&mut self) -> bool {
        let expected = "expected `gzip` or `none`; nothing is compressed, \
            unless another variable says otherwise";
        let read = |text: &str| match text.to_ascii_lowercase().as_str() {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        self.first("COMPRESSION", expected, read).unwrap_or(false)
    }

    fn timeout(&mut self) -> Duration {
        let expected = "expected milliseconds, at least 1";
        let read = |text: &str| text.parse().ok().filter(|millis| *millis > 0);
        self.first("TIMEOUT", expected, read).map_or(TIMEOUT, Duration::from_millis)
    }

    /// An endpoint without a scheme is one of gRPC, and `INSECURE` is about it.
    fn endpoint(&mut self, given: &str) -> String {
        let names =
            ["TRACES_INSECURE", "INSECURE"].map(|setting| format!("{}{setting}", name::OTLP));
        let insecure = names.iter().find(|name| self.get(name).is_some());
        let insecure = insecure.is_some_and(|name| self.boolean(name));
        match (given.contains("://"), insecure) {
            (true, _) => given.to_owned(),
            (false, true) => format!("http://{given}"),
            (false, false) => format!("https://{given}"),
        }
    }

    fn certificate(&mut self) -> Option<String> {
        self.first("CERTIFICATE", "", |path| Some(path.to_owned()))
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.get(name::SAMPLER).map(str::to_ascii_lowercase);
        let name = name.as_deref().unwrap_or("parentbased_always_on");
        let (parent_based, own) = match name.strip_prefix("parentbased_") {
            Some(own) => (true, own),
            None => (false, name),
        };
        let ratio = match own {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                let expected = "expected `always_on`, `always_off` or `traceidratio`, or one of \
                    these after `parentbased_`; `parentbased_always_on` is taken";
                self.warn(name::SAMPLER, name, expected);
                return Sampler { parent_based: true, ratio: 1.0 };
            }
        };
        if own != "traceidratio"
            && let Some(argument) = self.get(name::SAMPLER_ARG)
        {
            let what = format!("the sampler `{name}` takes no argument; `traceidratio` does");
            self.warn(name::SAMPLER_ARG, argument, &what);
        }
        Sampler { parent_based, ratio }
    }

    fn ratio(&mut self) -> f64 {
        let Some(text) = self.get(name::SAMPLER_ARG) else { return 1.0 };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.warn(name::SAMPLER_ARG, text, "expected a number from 0 to 1; 1 is taken");
                1.0
            }
        }
    }
}

#[cfg(test)]
mod tests;
