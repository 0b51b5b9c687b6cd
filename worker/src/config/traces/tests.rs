use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

/// What is read, and the warnings.
fn read(variables: &[(&str, &str)]) -> (Option<TracesConfig>, Vec<String>) {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let mut warnings = Vec::new();
    (traces(&variables.collect(), &mut warnings), warnings)
}

/// With a collector.
fn with(variables: &[(&str, &str)]) -> (TracesConfig, Vec<String>) {
    let (config, warnings) = read(&[&[ENDPOINT], variables].concat());
    (config.unwrap(), warnings)
}

#[test]
fn traces_are_on_with_a_collector_unless_they_are_switched_off() {
    for (variables, on) in [
        (&[][..], false),
        (&[ENDPOINT], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/x")], true),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")], false),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], true),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "")], true),
    ] {
        let (config, warnings) = read(variables);
        assert_eq!((config.is_some(), &*warnings), (on, &[][..]), "{variables:?}");
    }
}

#[test]
fn the_setting_for_traces_comes_before_the_general_one() {
    let (config, _) = with(&[]);
    let system = TracesConfig {
        protocol: OtlpProtocol::HttpProtobuf,
        gzip: false,
        timeout: Duration::from_secs(10),
        endpoint: ENDPOINT.1.into(),
        certificate: None,
        sampler: Sampler { parent_based: true, ratio: 1.0 },
        service: None,
        attributes: Vec::new(),
    };
    assert_eq!(config, system);
    let (config, warnings) = with(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/b"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x=1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20shop,deployment.environment.name=test"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage,xray"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let read = TracesConfig {
        protocol: OtlpProtocol::HttpJson,
        gzip: true,
        timeout: Duration::from_millis(2500),
        certificate: Some("/b".into()),
        service: Some("a shop".into()),
        attributes: vec![("deployment.environment.name".into(), "test".into())],
        ..system
    };
    assert_eq!((config, &*warnings), (read, &[][..]));
}

#[test]
fn grpc_is_spoken_over_tls_where_the_endpoint_says_so() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    for (endpoint, insecure, spoken) in [
        ("http://collector:4317", "false", "http://collector:4317"),
        ("https://collector:4317", "true", "https://collector:4317"),
        ("collector:4317", "", "https://collector:4317"),
        ("collector:4317", "true", "http://collector:4317"),
    ] {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let (config, warnings) = read(&[grpc, endpoint, ("OTEL_EXPORTER_OTLP_INSECURE", insecure)]);
        assert_eq!((&*config.unwrap().endpoint, &*warnings), (spoken, &[][..]));
    }
    let local = read(&[grpc, ("OTEL_TRACES_EXPORTER", "otlp")]).0.unwrap();
    assert_eq!(local.endpoint, "http://localhost:4317");
}

#[test]
fn samplers_are_those_of_the_specification() {
    for (name, argument, parent_based, ratio) in [
        ("always_on", "", false, 1.0),
        ("Always_Off", "", false, 0.0),
        ("traceidratio", "0.25", false, 0.25),
        ("traceidratio", "", false, 1.0),
        ("parentbased_always_on", "", true, 1.0),
        ("parentbased_always_off", "", true, 0.0),
        ("parentbased_traceidratio", "0.5", true, 0.5),
    ] {
        let argument = ("OTEL_TRACES_SAMPLER_ARG", argument);
        let (config, warnings) = with(&[("OTEL_TRACES_SAMPLER", name), argument]);
        assert_eq!((config.sampler, &*warnings), (Sampler { parent_based, ratio }, &[][..]));
    }
}

#[test]
fn what_is_not_honoured_is_named_with_its_value() {
    for (name, value, expected) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp", "`http/protobuf`"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http", "`grpc`"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "`gzip`"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "`true`"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector:4317", "http://"),
        ("OTEL_TRACES_EXPORTER", "console", "`otlp`"),
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin", "`otlp`"),
        ("OTEL_SDK_DISABLED", "1", "`true`"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "`traceidratio`"),
        ("OTEL_TRACES_SAMPLER", "parentbased_xray", "`traceidratio`"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5", "`traceidratio`"),
        ("OTEL_PROPAGATORS", "b3", "`tracecontext`"),
        ("OTEL_PROPAGATORS", "none", "`tracecontext`"),
        ("OTEL_PROPAGATORS", "baggage", "`tracecontext`"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,team", "`key=value,…`"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz", "percent"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1s", "whole number"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", "whole number"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1000", "not read"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem", "not read"),
        ("OTEL_CONFIG_FILE", "/otel.yaml", "not read"),
        ("OTEL_METRICS_EXPORTER", "otlp", "not read"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost:4318", "not read"),
    ] {
        let (config, warnings) = with(&[(name, value)]);
        let [warning] = &*warnings else { panic!("{name}={value}: {warnings:?}") };
        assert!(warning.starts_with(name) && warning.contains(expected), "{warning}");
        let shown = value.rsplit(',').next().unwrap();
        assert!(warning.contains(shown) || expected == "not read", "{warning}");
        // A wrong value counts as one that is not set.
        assert_eq!(config.protocol, OtlpProtocol::HttpProtobuf);
    }
    for argument in ["2", "-0.1", "half", "NaN"] {
        let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        let (config, warnings) = with(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", argument)]);
        assert_eq!(config.sampler.ratio.to_string(), "1", "{argument}");
        assert!(warnings[0].contains(argument), "{warnings:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization:Bearer secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=%zzsecret"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=secret"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "user:secret@collector:4318"),
    ] {
        let (_, warnings) = with(&[(name, value)]);
        let [warning] = &*warnings else { panic!("{name}={value}: {warnings:?}") };
        assert!(warning.starts_with(name) && !warning.contains("secret"), "{warning}");
    }
}

#[test]
fn settings_without_a_collector_are_named() {
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_TRACES_SAMPLER",
        "OTEL_BSP_MAX_QUEUE_SIZE",
    ] {
        let (config, warnings) = read(&[(name, "grpc")]);
        assert_eq!(config, None);
        let [warning] = &*warnings else { panic!("{name}: {warnings:?}") };
        assert!(warning.contains(name) && warning.contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
    }
    // What others of the container are told, and what switches traces off, needs no word.
    for other in [
        ("OTEL_SERVICE_NAME", "shop"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:4318"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        assert_eq!(read(&[other]), (None, Vec::new()));
    }
    let (config, warnings) = read(&[("OTEL_TRACES_EXPORTER", "console")]);
    assert_eq!(config, None);
    assert!(warnings[0].starts_with("OTEL_TRACES_EXPORTER=console"), "{warnings:?}");
}
