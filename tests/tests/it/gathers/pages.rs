//! Pages of branches: to look at them changes nothing.

use super::groups::{batch, world};
use super::*;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{Group, ListBranchesRequest};
use tokio::time::advance;

#[tokio::test(start_paused = true)]
async fn who_lists_jobs_that_were_never_sent_writes_nothing() {
    let world = world();
    let group = Group {
        total: 65_536,
        expire_after: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..Group::default()
    };
    let begun = batch(&world, 1, group).await.unwrap().group.unwrap();
    let page = async |token: String| {
        let request =
            ListBranchesRequest { id: begun.id.clone(), page_size: 256, page_token: token };
        world.service.list_branches(world.asking(request)).await.unwrap().into_inner()
    };
    advance(secs(10) + CLOCK_SKEW).await;
    // The verdict of the group itself is written by whoever looks first.
    world.get(&begun.id).await.unwrap();
    let before = world.store.inner().record_count();
    let (mut token, mut seen) = (String::new(), 0);
    for _ in 0..12 {
        let listed = page(token).await;
        let state = |branch: &queuebridge_proto::v1::Branch| branch.job.as_ref().unwrap().state();
        assert!(listed.branches.iter().all(|branch| state(branch) == State::Expired));
        seen += listed.branches.len();
        token = listed.next_page_token;
    }
    assert_eq!((seen, world.store.inner().record_count()), (12 * 256, before));
    // What a page says of a job is what the job's own look-up says, and then stores.
    let shown = page("7".into()).await.branches.swap_remove(0).job.unwrap();
    let looked_up = world.get(&shown.id).await.unwrap();
    assert_eq!(shown, Job { method: shown.method.clone(), ..looked_up });
    assert_eq!(world.store.inner().record_count(), before + 1);
}
