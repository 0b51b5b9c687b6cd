//! `routeguide.RouteGuide`, as its tutorial describes it.

use super::features;
use super::routeguide::route_guide_server::RouteGuide;
use super::routeguide::{Feature, Point, Rectangle, RouteNote, RouteSummary};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

const EARTH_METRES: f64 = 6_371_000.0;

/// The service. Clones share the notes.
#[derive(Clone, Debug, Default)]
pub(super) struct Guide {
    notes: Arc<Mutex<Vec<RouteNote>>>,
}

#[tonic::async_trait]
impl RouteGuide for Guide {
    type ListFeaturesStream = BoxStream<'static, Result<Feature, Status>>;
    type RouteChatStream = BoxStream<'static, Result<RouteNote, Status>>;

    async fn get_feature(&self, request: Request<Point>) -> Result<Response<Feature>, Status> {
        let point = request.into_inner();
        let nameless = Feature { name: String::new(), location: Some(point) };
        Ok(Response::new(features::at(&point).unwrap_or(nameless)))
    }

    async fn list_features(
        &self,
        request: Request<Rectangle>,
    ) -> Result<Response<Self::ListFeaturesStream>, Status> {
        let Rectangle { lo, hi } = request.into_inner();
        let (lo, hi) = (lo.unwrap_or_default(), hi.unwrap_or_default());
        let found = features::all().filter(move |feature| {
            let at = feature.location.unwrap_or_default();
            between(at.latitude, lo.latitude, hi.latitude)
                && between(at.longitude, lo.longitude, hi.longitude)
        });
        Ok(Response::new(stream::iter(found.map(Ok)).boxed()))
    }

    async fn record_route(
        &self,
        request: Request<Streaming<Point>>,
    ) -> Result<Response<RouteSummary>, Status> {
        let (begun, mut points) = (Instant::now(), request.into_inner());
        let (mut summary, mut metres, mut last) = (RouteSummary::default(), 0.0, None);
        while let Some(point) = points.message().await? {
            summary.point_count += 1;
            summary.feature_count += i32::from(features::at(&point).is_some());
            metres += last.replace(point).map_or(0.0, |last| distance(&last, &point));
        }
        // Saturating, as casts of floating-point numbers are.
        #[expect(clippy::cast_possible_truncation, reason = "metres, rounded")]
        let distance = metres.round() as i32;
        let elapsed_time = i32::try_from(begun.elapsed().as_secs()).unwrap_or(i32::MAX);
        Ok(Response::new(RouteSummary { distance, elapsed_time, ..summary }))
    }

    async fn route_chat(
        &self,
        request: Request<Streaming<RouteNote>>,
    ) -> Result<Response<Self::RouteChatStream>, Status> {
        let notes = self.notes.clone();
        let answers = request.into_inner().flat_map(move |note| {
            stream::iter(match note {
                Ok(note) => with(&notes, note).into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// All notes from the same point, this one the last.
fn with(notes: &Mutex<Vec<RouteNote>>, note: RouteNote) -> Vec<RouteNote> {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    let place = note.location;
    notes.push(note);
    notes.iter().filter(|note| note.location == place).cloned().collect()
}

fn between(value: i32, one: i32, other: i32) -> bool {
    (one.min(other)..=one.max(other)).contains(&value)
}

/// By the haversine formula.
fn distance(from: &Point, to: &Point) -> f64 {
    let radians = |value: i32| (f64::from(value) / 1e7).to_radians();
    let (latitude, other) = (radians(from.latitude), radians(to.latitude));
    let north = (other - latitude) / 2.0;
    let east = (radians(to.longitude) - radians(from.longitude)) / 2.0;
    let a = north.sin().powi(2) + latitude.cos() * other.cos() * east.sin().powi(2);
    2.0 * EARTH_METRES * a.sqrt().atan2((1.0 - a).sqrt())
}
