//! Immutable bytes in temporary files.
//!
//! A file is removed with the last handle to it, so an overwrite does not interrupt a running download.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use md5::{Digest, Md5};
use s3s::{S3Error, S3Result, dto::StreamingBlob, s3_error};
use tempfile::TempPath;
use tokio::task::{JoinHandle, spawn_blocking};

use super::checksum::{Algorithm, Checksums, Hasher};

/// Bytes in one read from or write to a file.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) type Blob = TempPath;

/// A received body and its checksums.
pub(super) struct Received {
    pub(super) blob: Arc<Blob>,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksums: Checksums,
}

struct Sink {
    file: File,
    md5: Md5,
    hashers: Vec<Hasher>,
    size: u64,
}

impl Sink {
    fn write(mut self, chunks: Vec<Bytes>) -> io::Result<Self> {
        for chunk in chunks {
            self.md5.update(&chunk);
            for hasher in &mut self.hashers {
                hasher.update(&chunk);
            }
            self.file.write_all(&chunk)?;
            self.size += chunk.len() as u64;
        }
        Ok(self)
    }
}

/// Writes a body to a new file in `directory`. At most two chunks of it are in memory.
pub(super) async fn receive(
    directory: &Path,
    body: Option<StreamingBlob>,
    algorithms: Vec<Algorithm>,
) -> S3Result<Received> {
    let file = tempfile::NamedTempFile::new_in(directory).map_err(internal)?;
    let (file, path) = file.into_parts();
    let sink = Sink {
        file,
        md5: Md5::new(),
        hashers: algorithms.into_iter().map(Hasher::new).collect(),
        size: 0,
    };
    // One chunk is written and hashed while the next arrives.
    let mut writing = spawn_blocking(move || Ok(sink));
    if let Some(mut body) = body {
        let mut chunks = Vec::new();
        let mut pending = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(read_error)?;
            pending += chunk.len();
            chunks.push(chunk);
            if pending >= CHUNK_BYTES {
                let sink = written(writing).await?;
                let full = std::mem::take(&mut chunks);
                pending = 0;
                writing = spawn_blocking(move || sink.write(full));
            }
        }
        let sink = written(writing).await?;
        writing = spawn_blocking(move || sink.write(chunks));
    }
    let sink = written(writing).await?;
    let mut checksums = Checksums::default();
    for hasher in sink.hashers {
        checksums.set(hasher.algorithm(), hasher.finish());
    }
    Ok(Received {
        blob: Arc::new(path),
        size: sink.size,
        md5: sink.md5.finalize().into(),
        checksums,
    })
}

async fn written(writing: JoinHandle<io::Result<Sink>>) -> S3Result<Sink> {
    writing.await.map_err(internal)?.map_err(internal)
}

/// `InternalError` with its cause, such as a full disk.
fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> S3Error {
    let mut error = s3_error!(InternalError, "{cause}");
    error.set_source(Box::new(cause));
    error
}

/// The error that s3s found in the body, or `IncompleteBody`.
fn read_error(cause: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    match cause.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(cause) => {
            let mut error =
                s3_error!(IncompleteBody, "the request body could not be read: {cause}");
            error.set_source(cause);
            error
        }
    }
}

/// Consecutive bytes of a blob.
pub(super) struct Slice {
    pub(super) blob: Arc<Blob>,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Streams the bytes of `slices` in order.
pub(super) fn read(
    slices: Vec<Slice>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let start = (slices.into_iter(), None::<(Slice, File)>);
    stream::try_unfold(start, |(mut slices, mut open)| async move {
        let step = spawn_blocking(move || {
            loop {
                let (mut slice, mut file) = match open.take() {
                    Some(open) => open,
                    None => {
                        let Some(slice) = slices.next() else {
                            return Ok(None);
                        };
                        let mut file = File::open(&*slice.blob)?;
                        file.seek(SeekFrom::Start(slice.offset))?;
                        (slice, file)
                    }
                };
                if slice.length == 0 {
                    continue;
                }
                let length = slice.length.min(CHUNK_BYTES as u64);
                let mut chunk = vec![0; length as usize];
                file.read_exact(&mut chunk)?;
                slice.length -= length;
                return Ok(Some((Bytes::from(chunk), (slices, Some((slice, file))))));
            }
        });
        step.await.map_err(io::Error::other)?
    })
}
