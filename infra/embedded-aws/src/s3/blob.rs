//! Bytes on disk: files with random names, written once.
//!
//! A file belongs to nothing until an object or a part names it. Whoever gives up a file marks it, and
//! it goes when its last reader does: a download is never cut by an overwrite.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use md5::{Digest, Md5};
use s3s::{S3Error, S3Result, dto::StreamingBlob, s3_error};
use tokio::task::{JoinHandle, spawn_blocking};

use super::checksum::{Algorithm, Hasher, Sums};
use crate::random;

/// Handed to the disk, or taken from it, at a time.
const CHUNK: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Blob {
    path: PathBuf,
    doomed: AtomicBool,
}

impl Blob {
    /// A file that is already there and wanted.
    pub(super) fn existing(directory: &Path, name: &str) -> Arc<Self> {
        Arc::new(Self {
            path: directory.join(name),
            doomed: AtomicBool::new(false),
        })
    }

    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// From now on the file stays.
    pub(super) fn keep(&self) {
        self.doomed.store(false, Ordering::Release);
    }

    /// The file goes with the last handle to it.
    pub(super) fn discard(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "file not removed");
        }
    }
}

/// What arrived: a file that goes unless it is kept, and all that was computed on the way.
pub(super) struct Received {
    pub(super) blob: Arc<Blob>,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) sums: Sums,
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

/// Writes a body to a new file in `directory`. Never more than two chunks of it are in memory.
pub(super) async fn receive(
    directory: &Path,
    body: Option<StreamingBlob>,
    algorithms: impl IntoIterator<Item = Algorithm>,
) -> S3Result<Received> {
    let name = hex::encode(random::bytes::<16>().map_err(internal)?);
    let blob = Arc::new(Blob {
        path: directory.join(name),
        doomed: AtomicBool::new(true),
    });
    let sink = Sink {
        file: File::create_new(&blob.path).map_err(S3Error::internal_error)?,
        md5: Md5::new(),
        hashers: algorithms.into_iter().map(Hasher::new).collect(),
        size: 0,
    };
    // One chunk is written, and hashed, while the next arrives.
    let mut writing = spawn_blocking(move || Ok(sink));
    if let Some(mut body) = body {
        let mut chunks = Vec::new();
        let mut pending = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(broken_off)?;
            pending += chunk.len();
            chunks.push(chunk);
            if pending >= CHUNK {
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
    let mut sums = Sums::default();
    for hasher in sink.hashers {
        sums.set(hasher.algorithm(), hasher.finish());
    }
    Ok(Received {
        blob,
        size: sink.size,
        md5: sink.md5.finalize().into(),
        sums,
    })
}

async fn written(writing: JoinHandle<io::Result<Sink>>) -> S3Result<Sink> {
    writing
        .await
        .map_err(S3Error::internal_error)?
        .map_err(S3Error::internal_error)
}

/// A body that ends early is the client's fault, unless s3s found what is wrong with it.
fn broken_off(cause: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    match cause.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(cause) => {
            let mut error = s3_error!(
                IncompleteBody,
                "the request body could not be read: {cause}"
            );
            error.set_source(cause);
            error
        }
    }
}

fn internal(error: getrandom::Error) -> S3Error {
    S3Error::internal_error(io::Error::other(error.to_string()))
}

/// A stretch of a file.
pub(super) struct Stretch {
    pub(super) blob: Arc<Blob>,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The bytes of `stretches`, one after another.
pub(super) fn read(
    stretches: VecDeque<Stretch>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let start: (VecDeque<Stretch>, Option<File>) = (stretches, None);
    stream::try_unfold(start, |(mut stretches, mut file)| async move {
        let step = spawn_blocking(move || {
            while let Some(stretch) = stretches.front_mut() {
                if stretch.length == 0 {
                    stretches.pop_front();
                    file = None;
                    continue;
                }
                let mut source = match file.take() {
                    Some(source) => source,
                    None => {
                        let mut source = File::open(&stretch.blob.path)?;
                        source.seek(SeekFrom::Start(stretch.offset))?;
                        source
                    }
                };
                let length = stretch.length.min(CHUNK as u64);
                let mut chunk = vec![0; length as usize];
                source.read_exact(&mut chunk)?;
                stretch.length -= length;
                return Ok(Some((Bytes::from(chunk), (stretches, Some(source)))));
            }
            Ok(None)
        });
        step.await.map_err(io::Error::other)?
    })
}
