use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::from_variables(
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    )
}

const KEYS: (&str, &str) = ("QB_ENVELOPE_KEYS", "1:MDEyMzQ1Njc4OWFiY2RlZg==");

#[test]
fn the_environment_chooses_the_host() {
    let table = ("QB_STORE_TABLE", "t");
    let polled = read(&[KEYS, table, ("QB_QUEUE_URL", "http://q")]).unwrap();
    let host = Host::Container { queue_url: Some("http://q".into()), listen: None };
    assert_eq!(polled.host, host);
    let lambda = read(&[KEYS, table, ("AWS_LAMBDA_RUNTIME_API", "h:1")]).unwrap();
    assert_eq!(lambda.host, Host::Lambda);
}

#[test]
fn what_only_serves_requests_needs_nothing_of_the_bridge() {
    let listen = ("QB_LISTEN", "127.0.0.1:0");
    assert!(read(&[listen]).unwrap().bridge.is_none());
    assert!(read(&[("AWS_LAMBDA_RUNTIME_API", "h:1")]).unwrap().bridge.is_none());
    let both = read(&[listen, ("QB_QUEUE_URL", "https://q/q"), KEYS]).unwrap_err().0;
    assert_eq!(both.len(), 1, "the table: {both:?}");
    assert_eq!(read(&[("AWS_LAMBDA_RUNTIME_API", "h:1"), KEYS]).unwrap_err().0.len(), 1);
    assert_eq!(read(&[("QB_LISTEN", "here")]).unwrap_err().0.len(), 1);
    assert!(read(&[]).unwrap_err().0[0].contains("QB_LISTEN"));
    let hosts = |text| read(&[listen, ("QB_HOSTS", text)]).map(|config| config.hosts.len());
    assert_eq!(hosts("orders, *.internal").unwrap(), 2);
    assert_eq!(hosts("https://orders").unwrap_err().0.len(), 1);
}

#[test]
fn metrics_are_on_in_lambda_and_off_elsewhere_unless_somebody_says_so() {
    let metrics = |more: &[(&str, &str)]| read(more).map(|config| config.metrics);
    let (lambda, container) = (("AWS_LAMBDA_RUNTIME_API", "h:1"), ("QB_LISTEN", "[::1]:1"));
    assert_eq!(metrics(&[lambda]).unwrap().as_deref(), Some("Queuebridge"));
    assert_eq!(metrics(&[lambda, ("QB_METRICS", "none")]).unwrap(), None);
    assert_eq!(metrics(&[container]).unwrap(), None);
    let named = [container, ("QB_METRICS", "emf"), ("QB_METRICS_NAMESPACE", "Shop/Jobs")];
    assert_eq!(metrics(&named).unwrap().as_deref(), Some("Shop/Jobs"));
    for wrong in [("QB_METRICS", "all"), ("QB_METRICS_NAMESPACE", "AWS/SQS")] {
        assert_eq!(metrics(&[lambda, wrong]).unwrap_err().0.len(), 1, "{wrong:?}");
    }
}

#[test]
fn dead_letters_need_a_standard_queue_to_be_parked_in() {
    let role = |more: &[(&str, &str)]| {
        let table = ("QB_STORE_TABLE", "t");
        let base =
            [KEYS, table, ("QB_QUEUE_URL", "https://q/q"), ("QB_WORKER_ROLE", "dead-letters")];
        read(&[&base[..], more].concat())
    };
    let parking = "QB_PARKING_QUEUE_URL";
    assert_eq!(role(&[(parking, "https://q/p")]).unwrap().role, Role::DeadLetters);
    for mistake in [&[][..], &[(parking, "https://q/p.fifo")], &[("QB_WORKER_ROLE", "boss")]] {
        assert_eq!(role(mistake).unwrap_err().0.len(), 1, "{mistake:?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once_and_no_secret_is_shown() {
    let errors = read(&[
        ("QB_QUEUE_URL", "https://q/q"),
        ("QB_WORKER_ROLE", "boss"),
        ("QB_ENVELOPE_KEYS", "1:c2hvcnQ="),
        ("QB_WORKER_LEASE", "soon"),
        ("QB_WORKER_RECEIVE_WAIT", "21s"),
        ("QB_WORKER_CONCURRENCY", "0"),
    ]);
    let errors = errors.unwrap_err().0;
    assert_eq!(errors.len(), 6, "{errors:?}");
    assert!(!errors.concat().contains("c2hvcnQ"));
    let config = read(&[KEYS, ("QB_STORE_TABLE", "t"), ("QB_QUEUE_URL", "https://q/q")]).unwrap();
    assert!(!format!("{config:?}").contains("MDEy"));
}

#[test]
fn a_receive_waits_for_whole_seconds_that_sqs_takes() {
    let wait = |text| {
        let base = [KEYS, ("QB_STORE_TABLE", "t"), ("QB_QUEUE_URL", "https://q/q")];
        read(&[&base[..], &[("QB_WORKER_RECEIVE_WAIT", text)]].concat()).map(|it| it.receive_wait)
    };
    assert_eq!(wait("").unwrap(), Duration::from_secs(20));
    assert_eq!(wait("1s").unwrap(), Duration::from_secs(1));
    for wrong in ["0s", "21s", "1500ms", "1m", "soon"] {
        assert!(wait(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn times_have_units() {
    assert_eq!(seconds("90s"), Some(Duration::from_secs(90)));
    assert_eq!(seconds("2d"), Some(Duration::from_secs(172_800)));
    for bad in ["", "s", "5", "5 s", "-1s", "99999999999999999999s", "1w"] {
        assert_eq!(seconds(bad), None, "{bad}");
    }
}

#[test]
fn a_sender_of_callbacks_is_told_all_its_mistakes() {
    let base = [KEYS, ("QB_STORE_TABLE", "t"), ("QB_QUEUE_URL", "https://q/q")];
    let role = [("QB_WORKER_ROLE", "callbacks"), ("QB_PARKING_QUEUE_URL", "https://q/p")];
    let right = [
        ("QB_CALLBACK_SIGNING_KEYS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (
            "QB_CALLBACK_TENANT_SIGNING_KEYS",
            "acme=whsec_c2VjcmV0IGtleXMgb2YgdGVuYW50IGFjbWU=;shop=whsec_c2VjcmV0IGtleXMgb2YgdGVuYW50IHNob3A=",
        ),
        ("QB_CALLBACK_ALLOW_NETWORKS", "10.0.0.0/8, fd00::/8"),
        ("QB_EXTENDED_CLIENT_BUCKETS", "one, two,"),
    ];
    let config = read(&[&base[..], &role, &right].concat()).unwrap();
    assert_eq!((config.role, config.pointed_buckets.len()), (Role::Callbacks, 2));
    assert!(config.sender.networks.allow("10.1.2.3".parse().unwrap()));
    assert_eq!(config.sender.signing_keys.tenants.len(), 2);
    let shown = format!("{config:?}");
    assert!(!shown.contains("MfKQ") && !shown.contains("c2VjcmV0"), "{shown}");
    let wrong = [
        ("QB_WORKER_ROLE", "callbacks"),
        ("QB_CALLBACK_SIGNING_KEYS", "whsec_c2VjcmV0"),
        ("QB_CALLBACK_TENANT_SIGNING_KEYS", "acme=whsec_c2VjcmV0"),
        ("QB_CALLBACK_ALLOW_NETWORKS", "10.0.0.0"),
    ];
    let errors = read(&[&base[..], &wrong].concat()).unwrap_err().0;
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(!errors.concat().contains("c2VjcmV0"));
}
