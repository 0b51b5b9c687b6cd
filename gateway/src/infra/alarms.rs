//! Alarms on what must not pile up or fail, and a dashboard.

use super::fill::{blocks, fill};
use super::functions;
use super::names::sub;
use super::plan::{JobQueue, Plan};
use serde_json::{Value, json};

/// When somebody is told.
struct Alarm<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    /// Namespace, metric, dimension and its value.
    metric: [&'a str; 4],
    statistic: &'a str,
    /// Periods of 5 minutes.
    periods: &'a str,
    threshold: &'a str,
    condition: &'a str,
}

impl Alarm<'_> {
    fn render(&self, plan: &Plan) -> String {
        let [namespace, metric, dimension, value] = self.metric;
        let texts = [
            ("id", self.id),
            ("alarm", &format!("\"{}-{}\"", plan.name, self.name)),
            ("description", &format!("\"{}\"", self.description)),
            ("namespace", namespace),
            ("metric", metric),
            ("dimension", dimension),
            ("value", value),
            ("statistic", self.statistic),
            ("periods", self.periods),
            ("threshold", self.threshold),
            ("condition", self.condition),
        ];
        fill(include_str!("fragments/alarm.yaml"), &texts)
    }
}

const AGE: &str = "ApproximateAgeOfOldestMessage";

pub(super) fn template(plan: &Plan) -> String {
    let texts = [
        ("made", plan.made.as_str()),
        ("name", &plan.name),
        ("alarms", &blocks(alarms(plan))),
        ("dashboard", &dashboard(plan)),
    ];
    fill(include_str!("fragments/observability.yaml"), &texts)
}

fn alarms(plan: &Plan) -> Vec<String> {
    let mut alarms: Vec<String> = plan.queues.iter().map(|queue| dead(plan, queue)).collect();
    let mut add = |alarm: Alarm| alarms.push(alarm.render(plan));
    let of_functions = "Condition: HasFunctions\n";
    for queue in &plan.queues {
        let name = format!("\"{}\"", queue.name);
        add(Alarm {
            id: &format!("{}Late", queue.id),
            name: &format!("{}-late", queue.name),
            description: &format!("The oldest job in {} waits too long.", queue.name),
            metric: ["AWS/SQS", AGE, "QueueName", &name],
            statistic: "Maximum",
            periods: "1",
            threshold: "!Ref OldestMessageSeconds",
            condition: "",
        });
        add_function(&mut add, plan, &format!("{}Worker", queue.id), &queue.name, of_functions);
    }
    if !plan.queues.is_empty() {
        add_function(&mut add, plan, "DeadLetters", "dead-letters", "");
        add(Alarm {
            id: "Parked",
            name: "parked",
            description: "Messages wait for a person.",
            metric: [
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                "QueueName",
                &format!("\"{}\"", plan.parking),
            ],
            statistic: "Maximum",
            periods: "1",
            threshold: "0",
            condition: "",
        });
    }
    if let Some(callbacks) = &plan.callbacks {
        add(Alarm {
            id: "CallbackBacklog",
            name: "callbacks-late",
            description: "The oldest callback waits too long.",
            metric: ["AWS/SQS", AGE, "QueueName", &format!("\"{}\"", callbacks.queue)],
            statistic: "Maximum",
            periods: "1",
            threshold: "!Ref CallbackBacklogSeconds",
            condition: "",
        });
        add_function(&mut add, plan, "Callbacks", "callbacks", "");
    }
    for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] {
        add(Alarm {
            id: &format!("Table{metric}"),
            name: &format!("table-{metric}"),
            description: "The table refuses requests.",
            metric: ["AWS/DynamoDB", metric, "TableName", &sub(&plan.table)],
            statistic: "Sum",
            periods: "1",
            threshold: "0",
            condition: "",
        });
    }
    alarms
}

/// That there are dead letters, or were: their worker takes them at once.
fn dead(plan: &Plan, queue: &JobQueue) -> String {
    let texts = [
        ("id", &*format!("{}Dead", queue.id)),
        ("alarm", &format!("\"{}-{}-dead-letters\"", plan.name, queue.name)),
        ("description", &format!("\"Workers have died on messages of {}.\"", queue.name)),
        ("queue", &format!("\"{}\"", queue.dead)),
    ];
    fill(include_str!("fragments/dead-alarm.yaml"), &texts)
}

/// Failures and throttles of one function.
fn add_function(add: &mut impl FnMut(Alarm), plan: &Plan, id: &str, name: &str, condition: &str) {
    let function = functions::name(plan, name);
    for (metric, description, periods) in [
        ("Errors", "Invocations have failed: batches that no verdict was given for.", "1"),
        // Bursts are throttled and tried again; what lasts needs more concurrency.
        ("Throttles", "Invocations are refused for 15 minutes.", "3"),
    ] {
        add(Alarm {
            id: &format!("{id}{metric}"),
            name: &format!("{function}-{metric}"),
            description,
            metric: ["AWS/Lambda", metric, "FunctionName", &function],
            statistic: "Sum",
            periods,
            threshold: "0",
            condition,
        });
    }
}

/// The dashboard's body, for `!Sub`.
fn dashboard(plan: &Plan) -> String {
    let queue_names = || plan.queues.iter().map(|queue| queue.name.clone());
    let dead = plan.queues.iter().map(|queue| queue.dead.clone());
    let callbacks = plan.callbacks.iter().map(|callbacks| callbacks.queue.clone());
    let functions =
        queue_names().chain((!plan.queues.is_empty()).then(|| "dead-letters".to_owned()));
    let functions = functions.chain(plan.callbacks.iter().map(|_| "callbacks".to_owned()));
    let functions: Vec<String> = functions.map(|name| functions::name(plan, &name)).collect();
    let of = |namespace: &str, metric: &str, dimension: &str, values: Vec<String>| {
        let metrics = values.into_iter().map(|value| json!([namespace, metric, dimension, value]));
        metrics.collect::<Vec<Value>>()
    };
    let waiting = queue_names().chain(callbacks.clone()).collect();
    let sqs = |metric: &str, names: Vec<String>| of("AWS/SQS", metric, "QueueName", names);
    let table = vec![plan.table.clone()];
    let balancer = vec!["${Balancer}".to_owned()];
    let visible = "ApproximateNumberOfMessagesVisible";
    let left = dead.chain([plan.parking.clone()]).collect();
    let widgets = [
        ("Waiting", "Maximum", sqs(visible, waiting)),
        ("Age of the oldest, s", "Maximum", sqs(AGE, queue_names().chain(callbacks).collect())),
        ("Dead letters and parked", "Maximum", sqs(visible, left)),
        ("Invocations", "Sum", of("AWS/Lambda", "Invocations", "FunctionName", functions.clone())),
        (
            "Failed invocations",
            "Sum",
            of("AWS/Lambda", "Errors", "FunctionName", functions.clone()),
        ),
        ("Throttles", "Sum", of("AWS/Lambda", "Throttles", "FunctionName", functions.clone())),
        ("Duration, ms", "p99", of("AWS/Lambda", "Duration", "FunctionName", functions)),
        (
            "Calls",
            "Sum",
            of("AWS/ApplicationELB", "RequestCount", "LoadBalancer", balancer.clone()),
        ),
        (
            "Answers, s",
            "p99",
            of("AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", balancer),
        ),
        (
            "Units of the table",
            "Sum",
            [
                of("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", table.clone()),
                of("AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", table),
            ]
            .concat(),
        ),
    ];
    let widgets = widgets.into_iter().enumerate().map(|(index, (title, stat, metrics))| {
        let widget = json!({
            "type": "metric", "x": index % 3 * 8, "y": index / 3 * 6, "width": 8, "height": 6,
            "properties": {
                "title": title, "region": "${AWS::Region}", "stat": stat, "period": 60,
                "view": "timeSeries", "metrics": metrics,
            },
        });
        widget.to_string()
    });
    // One in each line, for whoever reviews it.
    format!("{{\"widgets\": [\n{}\n]}}", widgets.collect::<Vec<String>>().join(",\n"))
}
