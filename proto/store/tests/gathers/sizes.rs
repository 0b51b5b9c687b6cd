//! How large the items of a gather are: what is said of their costs rests on it.

use super::subject::*;
use prost::Message;
use queuebridge_store::gather::Cause;

/// With short names: a plan of ten branches is one write unit. A report has the plan,
/// the answers, and about sixty bytes for each branch around its answer.
#[tokio::test]
async fn plans_and_reports_grow_with_their_branches() {
    let mut sizes = Vec::new();
    for branches in [1, 3, 10, 256] {
        let mut s = Subject::new(branches, all(), HOUR).await;
        s.gathers.record_bytes = 400_000;
        for branch in 0..branches {
            s.store_end(branch, End::Ok(vec![7; 64]), after(1)).await;
        }
        let verdict = s.close(Cause::Branch(0), after(2)).await.unwrap();
        let report = verdict.outcome.unwrap().encoded_len();
        sizes.push((branches, s.plan.encoded_len(), report));
    }
    println!("branches, plan, report: {sizes:?}");
    for (branches, plan, report) in sizes {
        assert!(plan <= 40 + 24 * branches, "{branches}: a plan of {plan} bytes");
        assert!(report <= 100 + 150 * branches, "{branches}: a report of {report} bytes");
    }
}
