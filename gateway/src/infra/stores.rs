//! The table and the bucket.

use super::fill::fill;
use super::names::sub;
use super::plan::Plan;

pub(super) fn template(plan: &Plan) -> String {
    let bucket = plan.bucket.as_ref().map(|bucket| {
        let (name, days) = (sub(&bucket.name), bucket.days.to_string());
        fill(include_str!("fragments/bucket.yaml"), &[("name", &name), ("days", &days)])
    });
    let texts = [
        ("made", plan.made.as_str()),
        ("and_bucket", if bucket.is_some() { " and the bucket of what is large" } else { "" }),
        ("table", &sub(&plan.table)),
        ("bucket", bucket.as_deref().unwrap_or_default()),
    ];
    fill(include_str!("fragments/stores.yaml"), &texts)
}
