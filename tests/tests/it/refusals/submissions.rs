//! Submissions that cannot become a job.

use super::assert_refused;
use super::bridge::{Bridge, Setup, echo, forged};
use queuebridge_gateway::config::{Guarantee, RouteConfig};
use queuebridge_proto::Keyring;
use queuebridge_proto::v1::{CancelRequest, State, SubmitRequest};
use tonic::Code;

#[tokio::test]
async fn malformed_method_names_are_refused() {
    let mut gateway = Bridge::new().gateway(Setup::default()).await;
    for method in ["/", "/a", "/a.B", "/a.B/C/", "/a.B/C/D", "/a b/C"] {
        let request = SubmitRequest { method: method.into(), ..SubmitRequest::default() };
        let answer = gateway.jobs.submit(request).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELD", "method");
    }
}

#[tokio::test]
async fn retry_of_names_a_job_of_this_gateway_and_tenant() {
    let bridge = Bridge::new();
    let mut gateway = bridge.gateway(Setup::default()).await;
    let id = gateway.submitted(echo()).await;
    let of = |id: &str| SubmitRequest { retry_of: id.to_owned(), ..echo() };
    for bad in [&forged(&id), &id[..id.len() - 1], "x", &"ü".repeat(71)] {
        let answer = gateway.jobs.submit(of(bad)).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELD", "retry_of");
    }
    let other_key = Setup { job_id_keys: Keyring::single(&[2; 32]), ..Setup::default() };
    let other_tenant = Setup { tenant: "other", ..Setup::default() };
    for setup in [other_key, other_tenant] {
        let answer = bridge.gateway(setup).await.jobs.submit(of(&id)).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELD", "retry_of");
    }
    gateway.submitted(of(&id)).await;
}

#[tokio::test]
async fn a_job_without_a_claim_cannot_be_cancelled() {
    let mut bridge = Bridge::new();
    let route = RouteConfig { guarantee: Guarantee::AtLeastOnce, ..Setup::default().route };
    let mut gateway = bridge.gateway(Setup { route, ..Setup::default() }).await;
    let id = gateway.submitted(echo()).await;
    let answer = gateway.jobs.cancel(CancelRequest { id: id.clone() }).await;
    assert_refused(answer, Code::FailedPrecondition, "NOT_CANCELLABLE", "");
    bridge.work();
    assert_eq!(gateway.finished(&id).await.state(), State::Succeeded);
}
