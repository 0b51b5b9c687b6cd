//! A port that another process has.

use super::{PATIENCE, ended, gateway, printed, program};
use crate::local::Local;
use crate::stage::Stage;
use queuebridge_proto::v1::jobs_client::JobsClient;
use queuebridge_proto::v1::{GetResultRequest, State, SubmitRequest};
use tokio::time::timeout;
use tonic::transport::Endpoint;

pub(super) fn taken() {
    let owner = Local::start();
    let mut environment = gateway();
    environment.retain(|(name, _)| *name != "QB_LISTEN");
    let listen = || ("QB_LISTEN", owner.address.clone());
    environment.push(listen());
    let mut serve = program("queuebridge", &environment);
    serve.arg("serve");
    let worker = program("queuebridge-demo", &[listen()]);
    let mut local = program("queuebridge-local", &[]);
    local.args(["--listen", &owner.address]);
    for (name, command, code) in [("serve", serve, 3), ("worker", worker, 1), ("local", local, 2)] {
        let output = ended(command);
        let (said, error) = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{name}\n{said}{error}");
        assert!(format!("{said}{error}").contains(&owner.address), "{name}\n{said}{error}");
    }
    let works = async { timeout(PATIENCE, works(&owner.address)).await };
    Stage::shared().runtime.block_on(works).expect("the owner goes on");
}

/// A job comes to its end there.
async fn works(address: &str) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut jobs = JobsClient::new(endpoint.connect_lazy());
    let method = "/queuebridge.demo.v1.Probe/Echo".into();
    let request = SubmitRequest { method, ..SubmitRequest::default() };
    let mut job = jobs.submit(request).await.unwrap().into_inner();
    while matches!(job.state(), State::Accepted | State::Running) {
        let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
        let request = GetResultRequest { id: job.id, wait };
        job = jobs.get_result(request).await.unwrap().into_inner();
    }
    assert_eq!(job.state(), State::Succeeded);
}
