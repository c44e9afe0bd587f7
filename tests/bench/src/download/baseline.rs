//! Lower bounds of a download: a blocking read that discards the body, and a blocking copy from one connection to
//! the other without checksum, parts or retry.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use reelay_runtime::environment::Variables;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::{AnyError, BenchError};

/// A TCP or TLS connection.
trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// Reads `BENCH_SOURCE`, and writes it to S3 if `copy` is set.
pub(crate) fn run_baseline(copy: bool) -> Result<(), BenchError> {
    transfer(copy).map_err(|error| BenchError::client("baseline", error))
}

fn transfer(copy: bool) -> Result<(), AnyError> {
    let variables = Variables::from_process_env();
    let size: u64 = variables.parsed("BENCH_SIZE")?;
    let (mut source, host, path) = connect(variables.required("BENCH_SOURCE")?, &variables)?;
    write!(source, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    source.flush()?;
    let (_, body_start) = read_head(&mut source)?;
    let mut s3 = None;
    if copy {
        let (mut connection, host, _) =
            connect(variables.required("AWS_ENDPOINT_URL_S3")?, &variables)?;
        write!(
            connection,
            "PUT /bench/copy HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\n\r\n"
        )?;
        connection.write_all(&body_start)?;
        s3 = Some(connection);
    }
    let mut received = body_start.len() as u64;
    let mut buffer = vec![0u8; 256 * 1024];
    while received < size {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return Err(format!("source sent {received} of {size} bytes").into());
        }
        if let Some(s3) = &mut s3 {
            s3.write_all(&buffer[..length])?;
        }
        received += length as u64;
    }
    if let Some(s3) = &mut s3 {
        s3.flush()?;
        let (head, _) = read_head(s3)?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("S3 responded {head}").into());
        }
    }
    Ok(())
}

/// Connects to the host of a URL. Returns the connection, the host with its port, and the path.
fn connect<'a>(
    url: &'a str,
    variables: &Variables,
) -> Result<(Box<dyn Connection>, &'a str, &'a str), AnyError> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    if scheme == "http" {
        return Ok((Box::new(stream), host, path));
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(variables.required("BENCH_CA")?)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?;
    Ok((Box::new(StreamOwned::new(tls, stream)), host, path))
}

/// Reads the head of a response. Returns it with the start of the body that came along.
fn read_head(connection: &mut impl Read) -> Result<(String, Vec<u8>), AnyError> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body_start = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body_start));
        }
        match connection.read(&mut buffer)? {
            0 => return Err("connection closed before the response".into()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}
