//! Deployment packages, as `sam` zips them.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::LambdaError;

/// How large files and folders are when they are zipped, MiB. What Python compiles by itself is left out.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn zipped(contents: &[PathBuf]) -> Result<f64, LambdaError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for path in contents {
        let above = path.parent().unwrap_or(Path::new("/"));
        add(&mut zip, path, above)?;
    }
    let zip = zip.finish().map_err(|error| failed(&error))?;
    Ok(zip.into_inner().len() as f64 / (1024.0 * 1024.0))
}

fn add(zip: &mut ZipWriter<Cursor<Vec<u8>>>, path: &Path, above: &Path) -> Result<(), LambdaError> {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| name == "__pycache__") {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            add(zip, &entry?.path(), above)?;
        }
        return Ok(());
    }
    let name = path.strip_prefix(above).unwrap_or(path);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(name.display().to_string(), options).map_err(|error| failed(&error))?;
    Ok(zip.write_all(&fs::read(path)?)?)
}

fn failed(error: &zip::result::ZipError) -> LambdaError {
    LambdaError::Package(error.to_string())
}
