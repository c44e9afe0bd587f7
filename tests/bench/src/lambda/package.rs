//! Deployment packages, zipped as `sam` does.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::BenchError;

/// Size of the zipped files and folders in MiB, without Python's bytecode caches.
pub(crate) fn zipped_mib(contents: &[PathBuf]) -> Result<f64, BenchError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for path in contents {
        add(&mut zip, path, path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(zip.finish()?.into_inner().len() as f64 / (1024.0 * 1024.0))
}

/// Adds a file or folder under its path relative to `root`.
fn add(zip: &mut ZipWriter<Cursor<Vec<u8>>>, path: &Path, root: &Path) -> Result<(), BenchError> {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| name == "__pycache__") {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            add(zip, &entry?.path(), root)?;
        }
        return Ok(());
    }
    let name = path.strip_prefix(root).unwrap_or(path);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(name.display().to_string(), options)?;
    Ok(zip.write_all(&fs::read(path)?)?)
}
