use super::*;

/// A route over a topic, unless `destination` says otherwise, with two branches.
fn with_branches(destination: &str, branch: &str, gather: &str) -> String {
    let (keys, branches) = (
        minimal(),
        ["a", "b"].map(|name| {
            format!("[[route.branch]]\nname = \"{name}\"\n{}\n", branch.replace("NAME", name))
        }),
    );
    let keys = keys.split("[[route]]").next().unwrap().to_owned();
    format!(
        "{keys}[[route]]\nmethods = \"*\"\n{destination}\n[route.gather]\n{gather}\n{}",
        branches.concat()
    )
}

#[test]
fn a_route_may_have_branches() {
    let topic = format!("topic = \"{TOPIC}\"");
    let rule = r#"need = "any"
deadline = "30s"
partial = true
success_codes = ["OK", "NOT_FOUND"]
late_branches = "ignore"
cancel_rest = true
primary = "b""#;
    let branch = "method = \"/a.B/C\"\nwhen = { plan = [\"gold\", \"tin\"], x = \"y\" }";
    let config = read(&with_branches(&topic, branch, rule));
    let fan_out = config.routes[0].fan_out.as_ref().unwrap();
    assert_eq!(
        (fan_out.rule.need, fan_out.rule.partial, fan_out.rule.cancel_rest),
        (1, true, true)
    );
    assert_eq!(fan_out.rule.success_codes, [0, 5]);
    assert_eq!(fan_out.branches[1].name, "b");
    assert_eq!(fan_out.branches[0].when["plan"], ["gold", "tin"]);
    assert_eq!(fan_out.branches[0].method.as_ref().unwrap().as_str(), "/a.B/C");
    // What is printed can be read again.
    let printed = config.to_string();
    let keys = format!("job_id_keys = \"1:{SECRET}\"\nenvelope_keys = \"1:{OTHER}\"");
    let printed: Vec<&str> = printed.lines().filter(|line| !line.contains("_keys")).collect();
    let again = read(&format!("{keys}\n{}", printed.join("\n")));
    assert_eq!(again.routes, config.routes);
    let queues = read(&with_branches("", "queue = \"https://sqs/1/NAME\"", "need = 2"));
    assert_eq!(queues.routes[0].destination, Destination::Branches);
    assert_eq!(queues.routes[0].fan_out.as_ref().unwrap().rule.need, 2);
}

#[test]
fn mistakes_in_branches_are_named() {
    let topic = format!("topic = \"{TOPIC}\"");
    let queue = "queue = \"https://sqs/1/NAME\"";
    for (destination, branch, gather, expected) in [
        (topic.as_str(), queue, "", "route[0].branch[0].queue: the topic's subscription says it"),
        ("", "", "", "route[0].branch[0].queue: missing"),
        ("queue = \"https://sqs/1/q\"", queue, "", "route[0].branch: the route has one queue"),
        ("", queue, "need = 3", "route[0].gather.need: 3 of 2 branches"),
        ("", queue, "need = 0", "route[0].gather.need: found 0"),
        ("", queue, "primary = \"c\"", "route[0].gather.primary: \"c\" is not among"),
        ("", queue, "primary = \"a\"\nmerge = true", "route[0].gather.merge: there is a primary"),
        ("", queue, "deadline = \"13d\"", "route[0].gather.deadline: it is longer than max_expiry"),
        ("", queue, "success_codes = [\"FINE\"]", "route[0].gather.success_codes[0]: found"),
        (
            "guarantee = \"at_least_once\"",
            queue,
            "cancel_rest = true",
            "route[0].gather.cancel_rest: at_least",
        ),
        (
            "",
            "queue = \"https://sqs/1/NAME\"\nwhen = { K = 1 }",
            "",
            "route[0].branch[0].when: found",
        ),
        (
            "",
            "queue = \"https://sqs/1/NAME\"\nnmae = 1",
            "",
            "route[0].branch[0].nmae: unknown key",
        ),
    ] {
        let found = mistakes(&with_branches(destination, branch, gather), &[]);
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{expected}: {found:?}");
    }
    let twice = with_branches("", queue, "").replace("name = \"b\"", "name = \"a\"");
    assert!(mistakes(&twice, &[])[0].starts_with("route[0].branch[1].name: there is a branch a"));
    let mixed = with_branches("", queue, "").replace("1/b", "1/b.fifo");
    assert!(mistakes(&mixed, &[])[0].starts_with("route[0].branch: some queues are FIFO"));
}
