mod branches;
mod upstreams;

use super::*;
use std::collections::BTreeMap;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const OTHER: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";
const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/1/jobs";
const TOPIC: &str = "arn:aws:sns:eu-central-1:1:jobs";

fn minimal() -> String {
    format!(
        "auth = \"none\"\njob_id_keys = \"1:{SECRET}\"\nenvelope_keys = \"2:{OTHER}\"\n\
         [store]\ntable = \"jobs\"\n[[route]]\nmethods = \"*\"\nqueue = \"{QUEUE}\"\n"
    )
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str) -> Config {
    Config::parse(text, env(&[])).unwrap()
}

/// The reports, each cut to its place and problem.
fn mistakes(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = Config::parse(text, env(pairs)).unwrap_err();
    errors.0.iter().map(|m| format!("{}: {}", m.place, m.problem)).collect()
}

fn with_route(rest: &str) -> String {
    format!("{}{rest}\n", minimal())
}

/// What is printed can be read again.
fn reads_back(config: &Config) {
    let keys = format!("job_id_keys = \"1:{SECRET}\"\nenvelope_keys = \"1:{OTHER}\"");
    let printed = config.to_string();
    let printed: Vec<&str> = printed.lines().filter(|line| !line.contains("_keys")).collect();
    assert_eq!(read(&format!("{keys}\n{}", printed.join("\n"))).routes, config.routes);
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = read(&minimal());
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!((config.tenant.as_str(), config.max_pending), ("default", 10_000));
    assert_eq!(config.max_message_bytes, 4 * 1024 * 1024);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.store, StoreConfig::new("jobs"));
    assert_eq!(config.log, LogConfig::default());
    let queue = Destination::Queue(QUEUE.into());
    assert_eq!(config.routes, [RouteConfig::new(MethodPattern::All, queue)]);
}

#[test]
fn the_file_says_everything() {
    let config = read(&format!(
        r#"
listen = "0.0.0.0:80"
auth = "none"
tenant = "acme"
job_id_keys = "1:{SECRET}"
envelope_keys = "2:{OTHER}"
max_message_bytes = "8MiB"
max_pending = 7
drain_timeout = "5s"
[store]
table = "t"
payload_bucket = "bucket"
payload_prefix = ""
copies_survive = "1d"
[replies]
queues = ["http://r/0", "http://r/1"]
[log]
format = "text"
filter = "warn,queuebridge_gateway=debug"
[[route]]
methods = "/a.B/*"
topic = "{TOPIC}"
guarantee = "at_least_once"
max_attempts = 100
retry_on = ["INTERNAL"]
initial_backoff = "250ms"
max_backoff = "12h"
default_expiry = "2h"
max_expiry = "14d"
default_retention = "1h"
max_retention = "2h"
max_request_bytes = 65536
inline_request_bytes = "32KiB"
announce = false
"#
    ));
    assert_eq!((config.tenant.as_str(), config.max_message_bytes), ("acme", 8 * 1024 * 1024));
    assert_eq!(config.store.payload_bucket.as_deref(), Some("bucket"));
    assert_eq!((config.store.payload_prefix.as_str(), config.store.copies_survive), ("", DAY));
    assert_eq!(config.reply_queues, ["http://r/0", "http://r/1"]);
    assert!(!config.routes[0].announce);
    assert_eq!(config.routes[0].inline_request_bytes, Some(32 * 1024));
    assert_eq!(config.log.format, LogFormat::Text);
    let route = &config.routes[0];
    assert_eq!(route.destination, Destination::Topic(TOPIC.into()));
    assert_eq!(route.guarantee, Guarantee::AtLeastOnce);
    assert_eq!((route.max_attempts, &route.retry_on[..]), (100, &[tonic::Code::Internal][..]));
    assert_eq!(route.initial_backoff, Duration::from_millis(250));
    assert_eq!((route.max_expiry, route.max_request_bytes), (DAY * 14, Some(65_536)));
}

#[test]
fn the_environment_overrides_the_file_and_needs_none() {
    let keys = format!("9:{SECRET}");
    let envelope_keys = format!("9:{OTHER}");
    let json = format!(r#"[{{"methods": "/a.B/C", "queue": "{QUEUE}"}}]"#);
    let toml = format!(r#"[{{ methods = "/a.B/C", queue = "{QUEUE}", max_attempts = 2 }}]"#);
    for routes in [json, toml] {
        let all = [
            ("QB_LISTEN", "[::1]:1"),
            ("QB_AUTH", "none"),
            ("QB_TENANT", "t-1"),
            ("QB_JOB_ID_KEYS", keys.as_str()),
            ("QB_ENVELOPE_KEYS", &envelope_keys),
            ("QB_MAX_MESSAGE_BYTES", "2048"),
            ("QB_MAX_PENDING", "3"),
            ("QB_DRAIN_TIMEOUT", "1m"),
            ("QB_STORE_TABLE", "other"),
            ("QB_STORE_PAYLOAD_BUCKET", "bucket"),
            ("QB_STORE_PAYLOAD_PREFIX", "p/"),
            ("QB_STORE_COPIES_SURVIVE", "2d"),
            ("QB_LOG_FORMAT", "text"),
            ("QB_LOG_FILTER", "debug"),
            ("QB_ROUTES", &routes),
        ];
        for text in [String::new(), minimal()] {
            let config = Config::parse(&text, env(&all)).unwrap();
            assert_eq!(config.listen.to_string(), "[::1]:1");
            assert_eq!(config.job_id_keys.signing_id(), 9);
            assert_eq!((config.max_message_bytes, config.max_pending), (2048, 3));
            assert_eq!(
                (config.store.table.as_str(), config.store.copies_survive),
                ("other", DAY * 2)
            );
            assert_eq!(config.store.payload_prefix, "p/");
            assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Text, "debug"));
            assert_eq!(config.routes.len(), 1);
            assert_eq!(config.routes[0].methods.to_string(), "/a.B/C");
        }
    }
}

#[test]
fn an_empty_variable_is_none_and_the_workers_variables_are_not_ours() {
    let pairs =
        [("QB_TENANT", ""), ("QB_QUEUE_URL", "x"), ("QB_WORKER_CONCURRENCY", "4"), ("HOME", "/")];
    assert_eq!(Config::parse(&minimal(), env(&pairs)).unwrap().tenant, "default");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = format!(
        r#"
listen = "here"
tenat = "acme"
job_id_keys = "1:short"
max_pending = 0
drain_timeout = 30
[store]
payload_prefix = "/p"
[log]
format = "xml"
colour = true
[[route]]
methods = "a.B"
queue = "jobs"
retry_on = ["OK"]
max_expiry = "15d"
[[route]]
methods = "*"
queue = "{QUEUE}.fifo"
topic = "{TOPIC}"
lease_policy = "forget"
[[route]]
methods = "/a.B/C"
queue = "{QUEUE}.fifo"
guarantee = "at_least_once"
lease_policy = "hold"
default_retention = "31d"
"#
    );
    let mut found = mistakes(&text, &[("QB_LISEN", "x"), ("QB_MAX_MESSAGE_BYTES", "4MB")]);
    found.sort();
    assert_eq!(
        found,
        [
            "QB_LISEN: unknown variable",
            "QB_MAX_MESSAGE_BYTES: found \"4MB\"",
            "auth: missing, also as QB_AUTH",
            "drain_timeout: found 30",
            "envelope_keys: missing, also as QB_ENVELOPE_KEYS",
            "job_id_keys: key 1: expected `id:base64` with an id from 0 to 255",
            "listen: found \"here\"",
            "log.colour: unknown key",
            "log.format: found \"xml\"",
            "max_pending: found 0",
            "route[0].max_expiry: found \"15d\"",
            "route[0].methods: found \"a.B\"",
            "route[0].queue: found \"jobs\"",
            "route[0].retry_on[0]: found \"OK\"",
            "route[1].lease_policy: found \"forget\"",
            "route[1].topic: there is a queue as well",
            "route[2].default_retention: it is longer than max_retention",
            "route[2].guarantee: at_least_once keeps no order, and the destination is FIFO",
            "route[2].lease_policy: at_least_once takes no lease",
            "store.payload_prefix: found \"/p\"",
            "store.table: missing, also as QB_STORE_TABLE",
            "tenat: unknown key",
        ]
    );
}

#[test]
fn smaller_requests_are_kept_out_of_messages_only_where_they_can_go_elsewhere() {
    let text = with_route("inline_request_bytes = \"1KiB\"");
    let errors = Config::parse(&text, env(&[])).unwrap_err().to_string();
    assert!(errors.contains("route.inline_request_bytes: there is no store"), "{errors}");
    let config = Config::parse(&text, env(&[("QB_STORE_PAYLOAD_BUCKET", "bucket")])).unwrap();
    assert_eq!(config.routes[0].inline_request_bytes, Some(1024));
}

#[test]
fn a_route_tells_only_whom_the_gateway_may_tell() {
    let told = |target: &str| with_route(&format!("callback = {{ {target} }}"));
    let queue = ("QB_CALLBACKS_QUEUE", "https://q/callbacks");
    let right = told("webhook_url = \"https://example.com/hook\"");
    let config = Config::parse(&right, env(&[queue])).unwrap();
    assert!(config.routes[0].callback.is_some());
    assert_eq!(config.callbacks.unwrap().queue, queue.1);
    let mistake = |text: &str, more: &[(&str, &str)]| {
        Config::parse(text, env(more)).unwrap_err().0[0].to_string()
    };
    assert!(mistake(&right, &[]).starts_with("route[0].callback: callback: there is no"));
    let allow = ("QB_CALLBACKS_ALLOW", "https://other.example");
    assert!(mistake(&right, &[queue, allow]).contains("not among the URLs"));
    let http = told("webhook_url = \"http://example.com/\"");
    assert!(mistake(&http, &[queue]).contains("an https URL"));
    assert!(Config::parse(&http, env(&[queue, ("QB_CALLBACKS_ALLOW_HTTP", "true")])).is_ok());
    assert!(mistake(&told("webhook = \"x\""), &[queue]).contains("webhook_url"));
    assert!(mistake("", &[("QB_CALLBACKS_QUEUE", "https://q/callbacks.fifo")]).contains("QB_"));
}

#[test]
fn reply_shards_are_different_standard_queues() {
    let read = |value: &str| Config::parse(&minimal(), env(&[("QB_REPLIES_QUEUES", value)]));
    assert_eq!(
        read("http://r/0, https://r/1").unwrap().reply_queues,
        ["http://r/0", "https://r/1"]
    );
    assert!(read("").unwrap().reply_queues.is_empty());
    for wrong in ["r", "http://r/0,http://r/0", "http://r/0.fifo", "http://r/0,"] {
        let errors = read(wrong).unwrap_err().to_string();
        assert!(errors.contains("QB_REPLIES_QUEUES"), "{wrong}: {errors}");
    }
    let many: Vec<String> = (0..128).map(|n| format!("http://r/{n}")).collect();
    assert!(read(&many.join(",")).is_err());
    assert_eq!(read(&many[1..].join(",")).unwrap().reply_queues.len(), 127);
}

#[test]
fn a_slip_of_the_pen_gets_a_suggestion() {
    let text = minimal().replace("[[route]]", "[[routes]]").replace("table", "tabel");
    let errors = Config::parse(&text, env(&[("QB_ENVELOP_KEYS", "x")])).unwrap_err().to_string();
    for suggestion in ["`route`?", "`table`?", "`QB_ENVELOPE_KEYS`?"] {
        assert!(errors.contains(suggestion), "{suggestion} in {errors}");
    }
    let far = Config::parse(&with_route("colour = 1"), env(&[])).unwrap_err().to_string();
    assert!(far.contains("route[0].colour: unknown key; expected one of announce"), "{far}");
}

#[test]
fn lists_and_sections_of_the_wrong_kind_are_named() {
    assert_eq!(mistakes(&minimal(), &[("QB_ROUTES", "[]")]), ["QB_ROUTES: there is none"]);
    assert_eq!(mistakes(&minimal(), &[("QB_ROUTES", "[1]")]), ["QB_ROUTES[0]: found 1"]);
    assert_eq!(mistakes(&minimal(), &[("QB_ROUTES", "7")]), ["QB_ROUTES: not a list"]);
    assert_eq!(mistakes(&minimal(), &[("QB_ROUTES", "[{]")]).len(), 1);
    let flat = minimal().replace("[store]\ntable = \"jobs\"", "log = 5\nstore = 3");
    assert_eq!(
        mistakes(&flat, &[]),
        ["store.table: missing, also as QB_STORE_TABLE", "log: found 5", "store: found 3"]
    );
    let twice = with_route(&format!("[[route]]\nmethods = \"*\"\nqueue = \"{QUEUE}\""));
    assert_eq!(mistakes(&twice, &[]), ["route[1].methods: * has a route already"]);
}

#[test]
fn a_lowered_limit_takes_its_default_along() {
    let route = &read(&with_route("max_expiry = \"10m\"\nmax_backoff = \"500ms\"")).routes[0];
    assert_eq!(route.default_expiry, Duration::from_secs(600));
    assert_eq!(route.initial_backoff, Duration::from_millis(500));
}

#[test]
fn no_print_and_no_report_shows_a_secret() {
    let config = read(&minimal());
    let broken = [
        format!("{}x = \n", minimal()),
        minimal().replace("1:", "1;"),
        minimal().replace("\"1:", "\"1:AAAA,2:"),
        minimal().replace("2:", "999:"),
        minimal().replace(&format!("= \"1:{SECRET}\""), &format!("= [\"1:{SECRET}\"]")),
        minimal().replace(&format!("\"1:{SECRET}\""), &format!("1:{SECRET}")),
        minimal().replace("job_id_keys", "job_id_key"),
    ];
    let reports = broken.map(|text| {
        let errors = Config::parse(&text, env(&[("QB_KEYS", SECRET)])).unwrap_err();
        format!("{errors} {errors:?}")
    });
    for print in [format!("{config}"), format!("{config:?}")].into_iter().chain(reports) {
        assert!(!print.contains("MDEyMzQ1"), "{print}");
    }
}

#[test]
fn a_secret_signs_ids_or_envelopes_and_not_both() {
    let same = minimal().replace(OTHER, SECRET);
    let problem = "envelope_keys: one of its secrets is among the job_id_keys, too";
    assert_eq!(mistakes(&same, &[]), [problem]);
}

#[test]
fn the_printed_configuration_can_be_read_again() {
    let config = read(&with_route("max_request_bytes = \"64KiB\"\nmax_backoff = \"90s\""));
    let printed = config.to_string();
    let keys = [format!("1:{SECRET}"), format!("2:{OTHER}")];
    let secrets = [("QB_JOB_ID_KEYS", keys[0].as_str()), ("QB_ENVELOPE_KEYS", &keys[1])];
    let again = Config::parse(&printed, env(&secrets)).unwrap();
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.routes, config.routes);
}

#[test]
fn a_lease_policy_is_read_and_printed_where_there_is_a_lease() {
    assert_eq!(read(&minimal()).routes[0].lease_policy, LeasePolicy::Retry);
    for policy in [LeasePolicy::Retry, LeasePolicy::Fail, LeasePolicy::Hold] {
        let line = format!("lease_policy = \"{}\"", policy.name());
        let config = read(&with_route(&line));
        assert_eq!(config.routes[0].lease_policy, policy);
        assert!(config.to_string().contains(&line));
    }
    let unclaimed = read(&with_route("guarantee = \"at_least_once\""));
    assert!(!unclaimed.to_string().contains("lease_policy"));
    // Also the default is refused there: it was meant to have an effect.
    let both = with_route("guarantee = \"at_least_once\"\nlease_policy = \"retry\"");
    let found = mistakes(&both, &[]);
    assert_eq!(found, ["route[0].lease_policy: at_least_once takes no lease"]);
}

#[test]
fn a_file_that_is_not_there_is_the_only_mistake() {
    let errors = Config::load(Some(Path::new("/nowhere/at/all.toml")), env(&[])).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert_eq!(errors.0[0].place, "/nowhere/at/all.toml");
}
