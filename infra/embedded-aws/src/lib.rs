#![doc = include_str!("../README.md")]

mod dynamodb;
mod events;
mod faults;
mod files;
mod journal;
mod json_front;
mod json_reply;
mod kms;
mod meter;
mod random;
mod s3;
mod secrets;
mod server;
mod sqs;
mod wire;

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustack_auth::StaticCredentialProvider;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

pub use self::faults::{Done, Fault, Faults, Service};
pub use self::meter::{Meter, Units};
pub use self::wire::{Sent, Wire};
use self::{
    dynamodb::DynamoDb,
    events::Events,
    json_front::{JsonEngines, JsonFront},
    kms::Kms,
    s3::{S3Front, Store},
    secrets::Secrets,
    sqs::Sqs,
};

/// After this a server is stopped in the midst of what it does.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What the engines are started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where state is kept over restarts. `None`: in memory and in a temporary directory that goes with
    /// the [`Engines`].
    pub data: Option<PathBuf>,
    /// The region in ARNs. State kept in `data` belongs to one region and account.
    pub region: String,
    /// The twelve digits in ARNs and queue URLs.
    pub account_id: String,
    /// The access key id that clients sign with.
    pub access_key_id: String,
    /// The secret access key that clients sign with; other signatures are refused.
    pub secret_access_key: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
        }
    }
}

/// Base URLs, `http://127.0.0.1:<port>` each. S3 has a port of its own and takes path style only.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "each is named like its service")]
pub struct Endpoints {
    pub dynamodb: String,
    pub s3: String,
    pub sqs: String,
    pub kms: String,
    pub secretsmanager: String,
    pub events: String,
}

/// Why the engines did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port could be had.
    #[error("bind a port on 127.0.0.1")]
    Bind(#[source] io::Error),
    /// The data directory could not be made.
    #[error("prepare the data directory {path}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two engines in one directory would overwrite each other's state.
    #[error("the data directory {0} is in use by another process")]
    InUse(PathBuf),
    /// SQLite takes paths in UTF-8 only.
    #[error("the path of the data directory is not UTF-8: {0}")]
    DataPath(PathBuf),
    /// A file of an earlier run could not be read.
    #[error("read the state kept in {path}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// DynamoDB's database did not open.
    #[error("open the DynamoDB database: {0}")]
    DynamoDb(String),
    /// The queues of an earlier run could not be made again.
    #[error("restore the queues: {0}")]
    Sqs(String),
    /// The operating system gave no random bytes.
    #[error("read random bytes: {0}")]
    Randomness(getrandom::Error),
}

impl StartError {
    fn state(path: &Path, source: io::Error) -> Self {
        Self::State {
            path: path.to_owned(),
            source,
        }
    }
}

/// Expired DynamoDB items could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("sweep expired DynamoDB items: {0}")]
pub struct SweepError(String);

/// Engines that serve until [`shutdown`](Self::shutdown) or until this is dropped.
pub struct Engines {
    endpoints: Endpoints,
    faults: Faults,
    json: Arc<JsonEngines>,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    _lock: Option<File>,
    /// Last, so that the files go after everything that uses them.
    _temporary: Option<TempDir>,
}

/// Starts all engines on ports that the system chooses, on the current Tokio runtime.
///
/// # Errors
/// If a port, the data directory or the state in it cannot be had.
pub async fn start(options: Options) -> Result<Engines, StartError> {
    let (directory, temporary) = data_directory(options.data.as_deref())?;
    let lock = match &options.data {
        Some(data) => Some(lock(data)?),
        None => None,
    };
    // Without a data directory only S3 needs files: the others would keep state for nobody.
    let kept = |name: &str| temporary.is_none().then(|| directory.join(name));

    let (json_listener, json_address) = server::bind().await.map_err(StartError::Bind)?;
    let (s3_listener, s3_address) = server::bind().await.map_err(StartError::Bind)?;
    let (stop, stopped) = watch::channel(false);

    let Options {
        region,
        account_id,
        access_key_id,
        secret_access_key,
        ..
    } = options;
    let port = json_address.port();
    let kept_directory = temporary.is_none().then_some(directory.as_path());
    let (dynamodb, dynamodb_serving) = DynamoDb::start(kept_directory, stopped.clone()).await?;
    let sqs = Arc::new(Sqs::start(&region, &account_id, port, kept_directory).await?);
    let events_journal = kept("events.jsonl");
    let events = Events::start(
        &region,
        &account_id,
        port,
        events_journal.as_deref(),
        Arc::clone(&sqs),
    )
    .await?;
    let kms = Kms::start(&region, &account_id, kept("keys.json"))?;
    let secrets_journal = kept("secrets.jsonl");
    let secrets = Secrets::start(&region, &account_id, secrets_journal.as_deref()).await?;
    let s3_directory = directory.join("s3");
    let store = Store::open(&s3_directory, &region)
        .map_err(|error| StartError::state(&s3_directory, error))?;

    let faults = Faults::default();
    let s3 = S3Front::new(store, faults.clone(), &access_key_id, &secret_access_key);
    let credentials = StaticCredentialProvider::new(vec![(access_key_id, secret_access_key)]);
    let json = Arc::new(JsonEngines {
        faults: faults.clone(),
        wire: Wire::default(),
        credentials,
        dynamodb,
        events,
        kms,
        secrets,
        sqs,
    });
    let serving = vec![
        server::serve(
            json_listener,
            JsonFront::new(Arc::clone(&json)),
            stopped.clone(),
        ),
        server::serve(s3_listener, s3, stopped),
        dynamodb_serving,
    ];
    let json_url = format!("http://{json_address}");
    Ok(Engines {
        endpoints: Endpoints {
            dynamodb: json_url.clone(),
            s3: format!("http://{s3_address}"),
            sqs: json_url.clone(),
            kms: json_url.clone(),
            secretsmanager: json_url.clone(),
            events: json_url,
        },
        faults,
        json,
        stop,
        serving,
        _lock: lock,
        _temporary: temporary,
    })
}

impl Engines {
    /// Where the services are.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The handle by which calls are made to fail, and counted.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The handle by which DynamoDB's request units are counted.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.json.dynamodb.meter
    }

    /// The handle by which requests are kept, to be looked through.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.json.wire
    }

    /// Deletes the DynamoDB items whose time to live is over and returns how many these were. AWS does
    /// this by itself, within days; here a test or a timer decides when.
    ///
    /// # Errors
    /// If the database fails.
    pub fn sweep_expired(&self) -> Result<usize, SweepError> {
        self.json.dynamodb.sweep_expired().map_err(SweepError)
    }

    /// Stops listening, gives calls under way a second to end, and closes the engines. All state that is
    /// kept was written when it changed, so a process that is killed loses nothing more than one that
    /// comes here.
    pub async fn shutdown(mut self) {
        self.json.events.shutdown().await;
        self.stop.send_replace(true);
        for mut serving in self.serving.drain(..) {
            match tokio::time::timeout(SHUTDOWN, &mut serving).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a server ended badly"),
                Err(_) => serving.abort(),
            }
        }
        self.json.sqs.shutdown().await;
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Held as long as the engines live; the system lets go of it when the process dies.
fn lock(directory: &Path) -> Result<File, StartError> {
    let data = |source| StartError::Data {
        path: directory.to_owned(),
        source,
    };
    let file = File::create(directory.join("lock")).map_err(data)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(data(source)),
    }
}

fn data_directory(data: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), StartError> {
    match data {
        Some(path) => {
            let data = |source| StartError::Data {
                path: path.to_owned(),
                source,
            };
            std::fs::create_dir_all(path).map_err(data)?;
            Ok((path.to_owned(), None))
        }
        None => {
            let temporary = tempfile::Builder::new()
                .prefix("embedded-aws-")
                .tempdir()
                .map_err(|source| StartError::Data {
                    path: std::env::temp_dir(),
                    source,
                })?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}
