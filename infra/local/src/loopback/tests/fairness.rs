//! Tenants of a standard queue.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_quiet_tenants_message_waits_for_one_message_of_each_other_tenant() {
    let queue = standard(|_| ());
    send(&queue, (0..1000).map(|n| of_tenant("noisy", &n.to_string())));
    send(&queue, [of_tenant("quiet", "q1"), of_tenant("quiet", "q2")]);
    assert_eq!(bodies(&queue, 6).await, ["0", "q1", "1", "q2", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_backlog_does_not_starve_others_either() {
    let queue = standard(|_| ());
    send(&queue, (0..10).map(|n| of_tenant("failing", &n.to_string())));
    poll(&queue, 10).await;
    send(&queue, [of_tenant("failing", "new")]);
    pass(secs(30)).await;
    send(&queue, [of_tenant("quiet", "q")]);
    assert_eq!(bodies(&queue, 2).await, ["new", "q"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_group_is_a_tenant_of_its_own() {
    let queue = standard(|_| ());
    send(&queue, [of_tenant("t", "t1"), of_tenant("t", "t2")]);
    send(&queue, [text("a"), text("b")]);
    assert_eq!(bodies(&queue, 10).await, ["t1", "a", "b", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_tenant_are_handled_side_by_side() {
    let queue = standard(|_| ());
    send(&queue, [of_tenant("t", "1"), of_tenant("t", "2")]);
    assert_eq!(bodies(&queue, 1).await, ["1"]);
    assert_eq!(bodies(&queue, 1).await, ["2"], "nothing is blocked on a standard queue");
}
