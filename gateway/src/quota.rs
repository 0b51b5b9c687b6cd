//! Quotas: what one tenant may submit, and have in hand, at this gateway.

mod bucket;

use crate::config::{Allowance, QuotaConfig};
use crate::until_end::keep_until_the_end;
use bucket::Bucket;
pub(crate) use bucket::Rate;
use http::Response;
use queuebridge_proto::error::{reason, retry_after};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// When a caller should come back whose tenant has too many calls in hand: nobody knows
/// when one of them ends.
const COME_BACK: Duration = Duration::from_millis(250);
/// A page of branches that reads so many records counts as a job: about what both cost.
const READS_OF_A_JOB: usize = 16;
/// Tenants that are remembered before those are forgotten that use nothing.
const MAX_IDLE: usize = 10_000;

/// Counts for every tenant; by default nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    config: QuotaConfig,
    tenants: Mutex<HashMap<Arc<str>, Arc<Tenant>>>,
}

#[derive(Debug)]
struct Tenant {
    allowance: Allowance,
    calls: AtomicUsize,
    jobs: Mutex<Bucket>,
}

/// A call in hand, until it is dropped.
#[derive(Debug)]
pub(crate) struct Call(Arc<Tenant>);

impl Quotas {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &QuotaConfig) -> Self {
        Self(Some(Arc::new(Inner { config: config.clone(), tenants: Mutex::default() })))
    }

    /// A place for a call.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`QUOTA_EXCEEDED` with the time to come back.
    pub(crate) fn enter(&self, tenant: &Arc<str>) -> Result<Option<Call>, Status> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let tenant = inner.tenant(tenant);
        let calls = tenant.calls.fetch_add(1, Ordering::Relaxed);
        let call = Call(tenant);
        if call.0.allowance.calls_in_flight.is_some_and(|most| calls >= most) {
            return Err(exceeded("the tenant has as many calls in hand as it may", COME_BACK));
        }
        Ok(Some(call))
    }

    /// Counts one job.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`QUOTA_EXCEEDED` with the time to come back.
    pub fn submit(&self, tenant: &Arc<str>) -> Result<(), Status> {
        let taken = self.take(tenant);
        taken.map_err(|wait| exceeded("the tenant submits more jobs per second than it may", wait))
    }

    /// Counts one job as soon as it may be submitted: for streams, which are slowed down
    /// instead of refused.
    pub(crate) async fn wait(&self, tenant: &Arc<str>) {
        while let Err(wait) = self.take(tenant) {
            sleep(wait).await;
        }
    }

    /// Whether something may begin that reads or writes many records. What it has done is
    /// counted by [`Quotas::have_read`] and [`Quotas::have_written`].
    ///
    /// # Errors
    /// As [`Quotas::submit`].
    pub(crate) fn may_read(&self, tenant: &Arc<str>) -> Result<(), Status> {
        let has_one = self.with_jobs(tenant, Bucket::has_one).unwrap_or(Ok(()));
        let message = "the tenant has done more with its groups than it may submit jobs meanwhile";
        has_one.map_err(|wait| exceeded(message, wait))
    }

    /// Counts the records that a look-up has read beyond its job's own.
    pub(crate) fn have_read(&self, tenant: &Arc<str>, records: usize) {
        let jobs = u32::try_from(records.div_ceil(READS_OF_A_JOB)).unwrap_or(u32::MAX);
        self.with_jobs(tenant, |bucket, rate, now| bucket.owe(jobs, rate, now));
    }

    /// Counts the records of branches that ending their gather may write: each as a job,
    /// which writes about as many.
    pub(crate) fn have_written(&self, tenant: &Arc<str>, records: usize) {
        self.have_read(tenant, records.saturating_mul(READS_OF_A_JOB));
    }

    fn take(&self, tenant: &Arc<str>) -> Result<(), Duration> {
        self.with_jobs(tenant, Bucket::take).unwrap_or(Ok(()))
    }

    /// `None` where the tenant has no rate.
    fn with_jobs<A>(
        &self,
        tenant: &Arc<str>,
        act: impl FnOnce(&mut Bucket, Rate, Instant) -> A,
    ) -> Option<A> {
        let tenant = self.0.as_ref()?.tenant(tenant);
        let rate = tenant.allowance.rate()?;
        let mut jobs = tenant.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut jobs, rate, Instant::now()))
    }
}

impl Inner {
    fn tenant(&self, name: &Arc<str>) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(name) {
            return known.clone();
        }
        if tenants.len() >= MAX_IDLE {
            let now = Instant::now();
            tenants.retain(|_, tenant| !tenant.is_idle(now));
        }
        let allowance = self.config.of(name);
        let new = Tenant { allowance, calls: AtomicUsize::new(0), jobs: Mutex::default() };
        tenants.entry(name.clone()).or_insert(Arc::new(new)).clone()
    }
}

impl Tenant {
    /// Whether forgetting it changes nothing.
    fn is_idle(&self, now: Instant) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.calls.load(Ordering::Relaxed) == 0 && jobs.is_full(now)
    }
}

impl Call {
    /// The call ends with the answer's last byte.
    pub(crate) fn until_the_end_of(self, response: Response<Body>) -> Response<Body> {
        keep_until_the_end(self, response)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether this is why something was refused.
pub(crate) fn is_exceeded(status: &Status) -> bool {
    let why = status.get_details_error_info();
    status.code() == Code::ResourceExhausted
        && why.is_some_and(|why| why.reason == reason::QUOTA_EXCEEDED)
}

fn exceeded(message: &str, wait: Duration) -> Status {
    retry_after(Code::ResourceExhausted, reason::QUOTA_EXCEEDED, message, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(allowance: Allowance) -> Quotas {
        Quotas::new(&QuotaConfig { each: allowance, tenants: HashMap::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_uses_up_nothing_of_anothers() {
        let quotas = quotas(Allowance {
            jobs_per_second: Some(10),
            jobs_burst: Some(2),
            ..Allowance::default()
        });
        let (busy, quiet): (Arc<str>, Arc<str>) = ("busy".into(), "quiet".into());
        assert!(quotas.submit(&busy).is_ok() && quotas.submit(&busy).is_ok());
        let refused = quotas.submit(&busy).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, reason::QUOTA_EXCEEDED);
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(quotas.submit(&quiet).is_ok());
        tokio::time::advance(wait).await;
        assert!(quotas.submit(&busy).is_ok() && quotas.submit(&busy).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_slowed_down_to_its_rate() {
        let quotas = quotas(Allowance { jobs_per_second: Some(10), ..Allowance::default() });
        let (tenant, begun): (Arc<str>, _) = ("t".into(), Instant::now());
        for _ in 0..30 {
            quotas.wait(&tenant).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(2), "10 at once, then 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_of_groups_is_owed() {
        let quotas = quotas(Allowance {
            jobs_per_second: Some(10),
            jobs_burst: Some(20),
            ..Allowance::default()
        });
        let (tenant, other): (Arc<str>, Arc<str>) = ("t".into(), "other".into());
        for _ in 0..2 {
            quotas.may_read(&tenant).unwrap();
            quotas.have_read(&tenant, 10 * READS_OF_A_JOB);
        }
        assert!(quotas.may_read(&tenant).is_err() && quotas.submit(&tenant).is_err());
        assert!(quotas.may_read(&other).is_ok());
        // However much was read at once, it holds nobody up for longer than the burst lasts.
        tokio::time::advance(Duration::from_millis(100)).await;
        quotas.may_read(&tenant).unwrap();
        quotas.have_read(&tenant, usize::MAX);
        tokio::time::advance(Duration::from_millis(1_900)).await;
        assert!(quotas.may_read(&tenant).is_err());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(quotas.submit(&tenant).is_ok());
        // Nor do many together, for longer than two bursts last.
        for _ in 0..100 {
            quotas.have_read(&tenant, usize::MAX);
        }
        tokio::time::advance(Duration::from_millis(2_100)).await;
        assert!(quotas.submit(&tenant).is_ok());
    }

    #[test]
    fn calls_are_counted_until_the_end_of_their_answers() {
        let quotas = quotas(Allowance { calls_in_flight: Some(1), ..Allowance::default() });
        let tenant = "t".into();
        let call = quotas.enter(&tenant).unwrap().unwrap();
        assert!(quotas.enter(&tenant).is_err() && quotas.enter(&"other".into()).is_ok());
        let body = Body::new(http_body_util::Full::new(bytes::Bytes::from_static(b"answer")));
        let answer = call.until_the_end_of(Response::new(body));
        assert!(quotas.enter(&tenant).is_err());
        drop(answer);
        assert!(quotas.enter(&tenant).is_ok(), "also those that were refused are gone");
    }

    #[test]
    fn tenants_that_use_nothing_are_forgotten() {
        let quotas = quotas(Allowance { calls_in_flight: Some(1), ..Allowance::default() });
        let busy = quotas.enter(&"busy".into()).unwrap();
        for number in 0..2 * MAX_IDLE {
            drop(quotas.enter(&number.to_string().into()).unwrap());
        }
        let inner = quotas.0.as_ref().unwrap();
        assert!(inner.tenants.lock().unwrap().len() <= MAX_IDLE);
        assert!(quotas.enter(&"busy".into()).is_err());
        drop(busy);
    }
}
