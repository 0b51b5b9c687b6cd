//! Parts of an analysis. A job of `Analyze` goes to a branch for each part; the gateway merges
//! their answers.

use queuebridge_worker::JobContext;
use tonic::Request;

/// A part of an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Thumbnail,
    Describe,
    Assess,
    All,
}

impl Part {
    /// The part of the branch that a request came to; all without a branch.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let context = request.extensions().get::<JobContext>();
        match context.and_then(|context| context.branch.as_deref()) {
            Some("thumbnail") => Self::Thumbnail,
            Some("describe") => Self::Describe,
            Some("assess") => Self::Assess,
            _ => Self::All,
        }
    }

    /// Makes `value` if the other part belongs to this one.
    pub(super) fn make<V, E>(
        self,
        other: Self,
        value: impl FnOnce() -> Result<V, E>,
    ) -> Result<Option<V>, E> {
        if self == Self::All || self == other { value().map(Some) } else { Ok(None) }
    }
}
