use super::*;

/// A route with these keys, and nothing else but `methods`.
fn with_only(rest: &str) -> String {
    let keys = minimal();
    let keys = keys.split("[[route]]").next().unwrap();
    format!("{keys}[[route]]\nmethods = \"*\"\n{rest}\n")
}

#[test]
fn a_route_may_have_an_upstream_instead_of_a_queue_or_before_it() {
    let arn = "arn:aws:lambda:eu-central-1:1:function:f:live";
    for (text, target) in [
        ("\"http://h:1\"", UpstreamTarget::grpc("http://h:1".parse().unwrap())),
        ("\"https://[::1]/\"", UpstreamTarget::grpc("https://[::1]".parse().unwrap())),
        (
            "{ grpc = \"http://h:1\", connections = 9 }",
            UpstreamTarget::Grpc {
                url: "http://h:1".parse().unwrap(),
                connections: 9,
                trust: crate::trust::Trust::default(),
            },
        ),
        (&format!("\"{arn}\""), UpstreamTarget::Lambda { function: arn.to_owned() }),
        ("{ lambda = \"f\" }", UpstreamTarget::Lambda { function: "f".to_owned() }),
    ] {
        let config = read(&with_only(&format!("upstream = {text}\nmax_request_bytes = 7")));
        let route = &config.routes[0];
        assert_eq!(route.destination, Destination::None);
        assert_eq!(route.upstream, Some(UpstreamConfig::new(target)));
        reads_back(&config);
    }
    for takes in [UpstreamTakes::All, UpstreamTakes::Streams, UpstreamTakes::WhatItCan] {
        let (name, upstream) = (takes.name(), "upstream = \"http://h:1\"");
        let config = read(&with_route(&format!("{upstream}\nupstream_takes = \"{name}\"")));
        assert_eq!(config.routes[0].destination, Destination::Queue(QUEUE.into()));
        assert_eq!(config.routes[0].upstream.as_ref().unwrap().takes, takes);
        reads_back(&config);
    }
}

#[test]
fn mistakes_in_upstreams_are_named() {
    let server = "upstream = \"http://h:1\"";
    for (rest, expected) in [
        ("", "route[0].queue: missing"),
        ("upstream = \"h:1\"", "route[0].upstream: found \"h:1\""),
        ("upstream = \"http://h:1/path\"", "route[0].upstream: found"),
        ("upstream = \"http://user@h:1\"", "route[0].upstream: found"),
        ("upstream = \"arn:aws:sqs:eu:1:q\"", "route[0].upstream: found"),
        ("upstream = 7", "route[0].upstream: found 7"),
        ("upstream = {}", "route[0].upstream.grpc: missing"),
        ("upstream = { grpc = \"h\" }", "route[0].upstream.grpc: found \"h\""),
        ("upstream = { lambda = \"a b\" }", "route[0].upstream.lambda: found \"a b\""),
        (
            "upstream = { grpc = \"http://h:1\", lambda = \"f\" }",
            "route[0].upstream.lambda: there is a gRPC server as well",
        ),
        (
            "upstream = { grpc = \"http://h:1\", connections = 65 }",
            "route[0].upstream.connections: found 65",
        ),
        (
            "upstream = { lambda = \"f\", connections = 2 }",
            "route[0].upstream.connections: a function has no connections",
        ),
        ("upstream = { grpc = \"http://h:1\", tls = true }", "route[0].upstream.tls: unknown key"),
        (
            &format!("{server}\nupstream_takes = \"streams\""),
            "route[0].upstream_takes: there is no queue for the other calls",
        ),
        (
            &format!("{server}\nupstream_takes = \"none\""),
            "route[0].upstream_takes: found \"none\"",
        ),
        (
            &format!("{server}\nmax_attempts = 2"),
            "route[0].max_attempts: the route has no jobs without a queue",
        ),
    ] {
        assert_eq!(mistakes(&with_only(rest), &[]).len(), 1, "{rest}");
        assert!(mistakes(&with_only(rest), &[])[0].starts_with(expected), "{rest}: {expected}");
    }
    let alone = mistakes(&with_route("upstream_takes = \"all\""), &[]);
    assert_eq!(alone, ["route[0].upstream_takes: there is no upstream"]);
}
