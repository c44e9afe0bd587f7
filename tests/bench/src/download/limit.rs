//! What cannot be undercut: a blocking read to nowhere, and a blocking copy from one connection to the
//! other, without checksum, parts or retry.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::DownloadError;

/// A connection, with TLS or without.
enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    fn open(url: &str) -> Result<(Self, String, String), DownloadError> {
        let failed = |reason: String| DownloadError::Limit(reason);
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| failed(format!("{url} is no URL")))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        let connection = if scheme == "https" {
            let mut roots = RootCertStore::empty();
            let file = std::env::var("BENCH_CA").map_err(|error| failed(error.to_string()))?;
            let authority =
                CertificateDer::from_pem_file(file).map_err(|error| failed(error.to_string()))?;
            roots.add(authority).map_err(|error| failed(error.to_string()))?;
            let config =
                ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let name =
                ServerName::try_from("127.0.0.1").map_err(|error| failed(error.to_string()))?;
            let tls = ClientConnection::new(Arc::new(config), name)
                .map_err(|error| failed(error.to_string()))?;
            Self::Tls(Box::new(StreamOwned::new(tls, stream)))
        } else {
            Self::Plain(stream)
        };
        Ok((connection, host.to_owned(), format!("/{path}")))
    }

    /// Reads the head of an answer, and gives what came of the body with it.
    fn head(&mut self) -> Result<(String, Vec<u8>), DownloadError> {
        let mut bytes = Vec::new();
        let mut block = [0u8; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let body = bytes.split_off(end + 4);
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
            }
            let read = self.read(&mut block)?;
            if read == 0 {
                return Err(DownloadError::Limit("no answer".to_owned()));
            }
            bytes.extend_from_slice(&block[..read]);
        }
    }
}

impl Read for Connection {
    fn read(&mut self, block: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(block),
            Self::Tls(stream) => stream.read(block),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, block: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(block),
            Self::Tls(stream) => stream.write(block),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Reads `BENCH_SOURCE`, and writes it to `BENCH_SINK` if it is to be copied.
///
/// # Errors
/// If not all of it came.
pub(crate) fn limit(copy: bool) -> Result<(), DownloadError> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| DownloadError::Limit(format!("{name} is missing")))
    };
    let size: u64 = variable("BENCH_SIZE")?
        .parse()
        .map_err(|_| DownloadError::Limit("BENCH_SIZE is no number".to_owned()))?;
    let (mut source, host, path) = Connection::open(&variable("BENCH_SOURCE")?)?;
    write!(source, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    source.flush()?;
    let (_, begun) = source.head()?;
    let mut sink = None;
    if copy {
        let (mut connection, host, _) = Connection::open(&variable("BENCH_SINK")?)?;
        write!(
            connection,
            "PUT /bench/copy HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\n\r\n"
        )?;
        connection.write_all(&begun)?;
        sink = Some(connection);
    }
    let mut done = begun.len() as u64;
    let mut block = vec![0u8; 256 * 1024];
    while done < size {
        let read = source.read(&mut block)?;
        if read == 0 {
            return Err(DownloadError::Limit(format!("{done} of {size} bytes came")));
        }
        if let Some(sink) = &mut sink {
            sink.write_all(&block[..read])?;
        }
        done += read as u64;
    }
    if let Some(sink) = &mut sink {
        sink.flush()?;
        let (head, _) = sink.head()?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(DownloadError::Limit(head));
        }
    }
    Ok(())
}
