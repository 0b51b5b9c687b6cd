//! End to end with real processes: gateway binary, worker binary and an AWS
//! endpoint, driven by Python with stubs generated from the contract.

use queuebridge_tests::{Emulator, python};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// A module takes seconds; this is for machines that do much else.
const PATIENCE: Duration = Duration::from_secs(600);

/// Modules take turns, so that none disturbs another's timing.
static TURN: Mutex<()> = Mutex::const_new(());

async fn modules(names: &[&str], environment: &[(&str, PathBuf)]) {
    let emulator = Emulator::shared().await;
    let prepare = || (python::environment("requirements.txt"), python::binaries());
    let (interpreter, binaries) = tokio::task::spawn_blocking(prepare).await.unwrap();
    let interpreter = interpreter.unwrap();
    for name in names {
        let output = Command::new(&interpreter)
            .args(["-m", "unittest", "--verbose", name])
            .current_dir(python::root().join("tests/python"))
            .env("QB_TEST_ENDPOINT", emulator.endpoint())
            .env("QB_TEST_BINARIES", binaries)
            .envs(environment.iter().cloned())
            // Otherwise gRPC's threads disturb the processes that the tests start.
            .env("GRPC_ENABLE_FORK_SUPPORT", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, output).await.expect("too slow").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(!said.contains("Ran 0 tests"), "{said}");
        let summary = said.lines().find(|line| line.starts_with("Ran ")).unwrap_or_default();
        println!("{name}: {summary}");
    }
}

#[tokio::test]
async fn a_client_in_another_language_gets_what_the_contract_says() {
    let _turn = TURN.lock().await;
    modules(&["test_jobs", "test_ordered", "test_refusals"], &[]).await;
}

#[tokio::test]
async fn nothing_accepted_is_lost_when_processes_are_killed() {
    let _turn = TURN.lock().await;
    modules(&["test_faults"], &[]).await;
}

#[tokio::test]
async fn nothing_is_lost_or_done_twice_when_the_network_loses_calls() {
    let _turn = TURN.lock().await;
    modules(&["test_repeats"], &[]).await;
}

#[tokio::test]
async fn what_fails_for_good_is_finished_and_can_be_found() {
    let _turn = TURN.lock().await;
    modules(&["test_dead_letters", "test_handlers"], &[]).await;
}

#[tokio::test]
async fn results_find_their_caller() {
    let _turn = TURN.lock().await;
    modules(&["test_replies", "test_operations", "test_payloads"], &[]).await;
}

#[tokio::test]
async fn nobody_is_let_in_who_does_not_belong() {
    let _turn = TURN.lock().await;
    modules(&["test_auth"], &[]).await;
}

#[tokio::test]
async fn several_workers_answer_one_call() {
    let _turn = TURN.lock().await;
    modules(&["test_branches"], &[]).await;
}

#[tokio::test]
async fn whoever_reads_queues_and_stores_sees_no_job() {
    let _turn = TURN.lock().await;
    modules(&["test_encryption", "test_secrets"], &[]).await;
}

#[tokio::test]
async fn whoever_wants_to_know_is_called_back() {
    let _turn = TURN.lock().await;
    modules(&["test_callbacks"], &[]).await;
}

#[tokio::test]
async fn a_worker_says_what_it_does() {
    let _turn = TURN.lock().await;
    modules(&["test_telemetry"], &[]).await;
}

#[tokio::test]
async fn parked_messages_become_new_jobs() {
    let _turn = TURN.lock().await;
    modules(&["test_leases", "test_replay", "test_replay_faults"], &[]).await;
}

#[tokio::test]
async fn the_worker_is_a_plain_grpc_server_too() {
    let _turn = TURN.lock().await;
    modules(&["test_server"], &[]).await;
}

#[tokio::test]
async fn clients_of_connect_and_grpc_web_pass_the_http_doors() {
    let _turn = TURN.lock().await;
    modules(&["test_doors", "test_gateway_function"], &[]).await;
}

#[tokio::test]
async fn the_published_interoperability_cases_pass() {
    let _turn = TURN.lock().await;
    modules(&["test_interop"], &[]).await;
}

#[tokio::test]
async fn a_stub_calls_the_gateway_as_if_it_were_the_service() {
    let _turn = TURN.lock().await;
    modules(&["test_calls", "test_call_streams", "test_call_routes"], &[]).await;
}

#[tokio::test]
async fn services_of_strangers_pass_unchanged() {
    let _turn = TURN.lock().await;
    modules(&["test_strangers"], &[]).await;
}

#[tokio::test]
async fn clients_of_every_protocol_call_the_gateway() {
    let _turn = TURN.lock().await;
    modules(&["test_protocols"], &[]).await;
}

#[tokio::test]
async fn the_port_speaks_tls_and_withstands_abuse() {
    let _turn = TURN.lock().await;
    modules(&["test_tls", "test_abuse"], &[]).await;
}

#[tokio::test]
async fn the_whole_bridge_runs_in_one_process() {
    let _turn = TURN.lock().await;
    modules(&["test_local"], &[]).await;
}

#[tokio::test]
async fn the_release_binary_is_a_lambda_function() {
    let _turn = TURN.lock().await;
    let build = || {
        python::run(
            std::process::Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--release", "-p", "queuebridge-demo"])
                .current_dir(python::root()),
        )
    };
    tokio::task::spawn_blocking(build).await.unwrap().unwrap();
    let debug = tokio::task::spawn_blocking(python::binaries).await.unwrap();
    let bootstrap = debug.with_file_name("release").join("queuebridge-demo");
    modules(&["test_lambda", "test_mapping", "test_infra"], &[("QB_TEST_BOOTSTRAP", bootstrap)])
        .await;
}
