//! Receiving a build: its description into memory, its source archive into a blob.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::extract::not_json;
use super::split::{SplitError, Splitter};
use super::{ApiError, ApiResult};
use crate::BuildId;
use crate::blobs::{BlobName, BlobWriter};
use crate::build::Fault;
use crate::model::SourceArchive;
use crate::state::App;

/// What was received.
pub(super) struct Upload<T> {
    pub(super) id: BuildId,
    pub(super) description: T,
    /// There is none, or it is uploaded.
    pub(super) archive: SourceArchive,
}

/// An archive on its way into a blob.
struct Archive<'a> {
    app: &'a App,
    name: BlobName,
    writer: Option<Box<dyn BlobWriter>>,
    digest: Sha256,
    bytes: u64,
}

impl<'a> Archive<'a> {
    fn new(app: &'a App, build: BuildId) -> Self {
        Self {
            app,
            name: BlobName::source(build),
            writer: None,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    async fn write(&mut self, piece: Vec<u8>) -> ApiResult<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.bytes += piece.len() as u64;
        let most = self.app.config.limits.source;
        if self.bytes > most {
            return Err(ApiError::too_large(
                "source_too_large",
                format!("The source archive is larger than the {most} bytes that this server takes."),
            ));
        }
        self.digest.update(&piece);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.app.blobs.create(&self.name).await?),
        };
        writer.write(Bytes::from(piece)).await?;
        Ok(())
    }

    /// It is whole.
    async fn finish(self) -> ApiResult<SourceArchive> {
        let Some(writer) = self.writer else {
            return Ok(SourceArchive::None);
        };
        writer.finish().await?;
        Ok(SourceArchive::Uploaded {
            bytes: self.bytes,
            sha256: hex(&self.digest.finalize()),
        })
    }

    async fn abort(self) -> ApiResult<()> {
        if let Some(writer) = self.writer {
            writer.abort().await?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unsplit(error: SplitError, most: usize) -> ApiError {
    match error {
        SplitError::NotBase64 => ApiError::invalid("invalid_request", format!("{error}.")),
        SplitError::Unfinished => ApiError::malformed(format!("{error}.")),
        SplitError::TooLong => ApiError::body_too_large("The body without its source archive", most),
    }
}

/// Receives a build. Of what is refused nothing is kept.
pub(super) async fn receive<T: DeserializeOwned + Send + 'static>(
    app: &App,
    request: Request,
) -> ApiResult<Upload<T>> {
    let json = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if !json.is_some_and(|json| json.trim_start().starts_with("application/json")) {
        return Err(not_json());
    }
    let id = BuildId::new();
    let mut archive = Archive::new(app, id);
    let description = match read(app, request.into_body(), &mut archive).await {
        Ok(rest) => parse(app, rest).await,
        Err(error) => Err(error),
    };
    match description {
        Ok(description) => Ok(Upload {
            id,
            description,
            archive: archive.finish().await?,
        }),
        Err(error) => {
            archive.abort().await?;
            Err(error)
        }
    }
}

async fn parse<T: DeserializeOwned + Send + 'static>(app: &App, text: Vec<u8>) -> ApiResult<T> {
    let parsed = app.parsing.run(move || serde_json::from_slice(&text)).await;
    parsed
        .map_err(Fault::from)?
        .map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ApiError::invalid("invalid_request", format!("{error}.")),
            _ => ApiError::malformed(format!("The body is not JSON: {error}.")),
        })
}

async fn read(app: &App, body: Body, archive: &mut Archive<'_>) -> ApiResult<Vec<u8>> {
    let most = app.config.limits.description;
    let unsplit = |error| unsplit(error, most);
    let mut splitter = Splitter::new(most);
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| ApiError::malformed("The body broke off."))?;
        archive.write(splitter.feed(&piece).map_err(unsplit)?).await?;
    }
    let (last, rest) = splitter.finish().map_err(unsplit)?;
    archive.write(last).await?;
    Ok(rest)
}
