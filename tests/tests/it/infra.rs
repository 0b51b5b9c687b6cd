//! The deployable templates, as far as the program that makes them can be asked.

use queuebridge_gateway::config::Config;
use queuebridge_tests::python;
use queuebridge_tests::templates::write;
use std::fs;
use std::time::Duration;

#[test]
fn the_templates_are_those_of_the_example() {
    let made = tempfile::tempdir().unwrap();
    write("infra/gateway.toml", made.path(), |_| {});
    let again = "queuebridge infra --config infra/gateway.toml --out infra";
    let mut names = Vec::new();
    for file in fs::read_dir(made.path()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let there = python::root().join("infra").join(&name);
        let there = fs::read_to_string(&there).unwrap_or_default();
        let wanted = fs::read_to_string(file.path()).unwrap();
        assert!(there == wanted, "infra/{name} is not what is made now; run `{again}`");
        names.push(name);
    }
    assert_eq!(names.len(), 13, "{names:?}");
}

#[test]
fn a_configuration_that_cannot_be_deployed_is_refused_with_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let queue = |account: &str, name: &str| {
        format!("\"https://sqs.eu-central-1.amazonaws.com/{account}/{name}\"")
    };
    let text = format!(
        "job_id_keys = \"1:MDEyMzQ1Njc4OWFiY2RlZg==\"\nauth = \"none\"\ndrain_timeout = \"3m\"\n\
         [store]\ntable = \"t\"\ncopies_survive = \"20d\"\n\
         [[route]]\nmethods = \"/a.A/*\"\nqueue = {}\nmax_expiry = \"14d\"\n\
         [[route]]\nmethods = \"/b.B/*\"\nqueue = {}\n\
         [[route]]\nmethods = \"/c.C/*\"\nqueue = \"http://127.0.0.1:4566/000000000000/c\"\n\
         [[route]]\nmethods = \"/d.D/*\"\nqueue = {}\n",
        queue("111122223333", "a"),
        queue("444455556666", "b"),
        queue("111122223333", &"d".repeat(78)),
    );
    fs::write(&file, text).unwrap();
    let (text, config) = Config::for_templates(&file).unwrap();
    let settings = queuebridge_gateway::infra::Settings {
        name: "Not a name".to_owned(),
        function_timeouts: vec!["gone=30s".parse().unwrap()],
        batch_size: 100,
        batch_window: Duration::ZERO,
        made: String::new(),
    };
    let errors = queuebridge_gateway::infra::templates(&text, &config, &settings).unwrap_err();
    let places: Vec<&str> = errors.0.iter().map(|mistake| mistake.place.as_str()).collect();
    let long = "d".repeat(78);
    let expected = [
        "job_id_keys",
        "listen",
        "hosts",
        "drain_timeout",
        "--name",
        "--batch-size",
        "route[0].max_expiry",
        "route[1].queue",
        "route[2].queue",
        &long,
        "--function-timeout",
        "store.copies_survive",
    ];
    assert_eq!(places, expected, "{errors}");
    assert!(!errors.to_string().contains("MDEy"), "{errors}");
}
