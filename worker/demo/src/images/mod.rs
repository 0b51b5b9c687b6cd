//! `queuebridge.demo.v1.Images`: thumbnails, descriptions and assessments of pictures.

pub mod assess;
pub mod colours;
pub mod decode;
pub mod describe;
pub mod error;
pub mod format;
pub mod hash;
mod outline;
mod part;
mod profile;
pub mod shrink;
#[cfg(test)]
mod tests;
pub mod thumbnail;

use crate::v1;
use crate::v1::images_server;
use error::PictureError;
use part::Part;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// The service. Clones share their limit on simultaneous work.
#[derive(Clone, Debug)]
pub struct Images {
    slots: Arc<Semaphore>,
}

impl Images {
    /// A service that works on as many pictures at a time as there are
    /// processors: more would not be faster, and each may hold hundreds of
    /// megabytes.
    #[must_use]
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { slots: Arc::new(Semaphore::new(processors)) }
    }

    /// Runs `work` where it may block. The slot stays taken until the work is
    /// done, even when the caller has given up waiting for it.
    async fn run<T, F>(&self, work: F) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, PictureError> + Send + 'static,
    {
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| Status::unavailable("the service is shutting down"))?;
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        match done.await {
            Ok(result) => Ok(Response::new(result?)),
            // A panic in a decoder stays with the picture that caused it.
            Err(error) if error.is_panic() => {
                Err(PictureError::Internal("the decoder or encoder panicked".to_owned()).into())
            }
            Err(_) => Err(Status::unavailable("the service is shutting down")),
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl images_server::Images for Images {
    async fn thumbnail(
        &self,
        request: Request<v1::ThumbnailRequest>,
    ) -> Result<Response<v1::ThumbnailResponse>, Status> {
        let request = request.into_inner();
        let wish = thumbnail::Wish::of(&request)?;
        self.run(move || thumbnail::make(&request.image, wish)).await
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let request = request.into_inner();
        self.run(move || describe::make(&request.image)).await
    }

    async fn assess(
        &self,
        request: Request<v1::AssessRequest>,
    ) -> Result<Response<v1::AssessResponse>, Status> {
        let request = request.into_inner();
        self.run(move || assess::make(&request.image)).await
    }

    async fn analyze(
        &self,
        request: Request<v1::AnalyzeRequest>,
    ) -> Result<Response<v1::AnalyzeResponse>, Status> {
        let part = Part::of(&request);
        let image = request.into_inner().image;
        let small = v1::ThumbnailRequest { image: image.clone(), ..Default::default() };
        let wish = thumbnail::Wish::of(&small)?;
        self.run(move || {
            Ok(v1::AnalyzeResponse {
                thumbnail: part.make(Part::Thumbnail, || thumbnail::make(&image, wish))?,
                description: part.make(Part::Describe, || describe::make(&image))?,
                assessment: part.make(Part::Assess, || assess::make(&image))?,
            })
        })
        .await
    }
}
