//! A log of the calls that changed an engine, replayed at the next start.
//!
//! The engines for Secrets Manager and EventBridge keep their state in private memory and offer neither
//! export nor import. Both change by few, small calls, so that repeating these is the way to have the
//! state back. Each line is `{"operation":…,"body":…}`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) operation: String,
    pub(crate) body: Box<RawValue>,
}

pub(crate) struct Journal {
    file: Mutex<File>,
}

impl Journal {
    /// Opens the log and returns what it holds.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut entries = Vec::new();
        let mut whole = 0;
        match File::open(path) {
            Ok(file) => {
                let mut reader = BufReader::new(file);
                let mut line = String::new();
                while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
                    entries.push(serde_json::from_str(&line)?);
                    whole += line.len() as u64;
                    line.clear();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        // A process that died while it wrote left half a line; the next one must not be glued to it.
        if fs::metadata(path)?.len() > whole {
            file.set_len(whole)?;
        }
        let journal = Self {
            file: Mutex::new(file),
        };
        Ok((journal, entries))
    }

    pub(crate) fn append(&self, operation: &str, body: &[u8]) -> io::Result<()> {
        let entry = Entry {
            operation: operation.to_owned(),
            body: serde_json::from_slice(body)?,
        };
        // A raw value may be spread over lines as the client sent it; one entry is one line.
        let mut line = serde_json::to_string(&entry)?.replace(['\n', '\r'], " ");
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_half_a_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (journal, entries) = Journal::open(&path).unwrap();
        assert!(entries.is_empty());
        journal
            .append("CreateSecret", b"{\n\"Name\": \"a\"}")
            .unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"operation\":\"Put").unwrap();

        let (journal, entries) = Journal::open(&path).unwrap();
        assert_eq!(entries.len(), 1);
        journal.append("PutSecretValue", b"{}").unwrap();
        let (_, entries) = Journal::open(&path).unwrap();
        let operations: Vec<_> = entries.iter().map(|e| e.operation.as_str()).collect();
        assert_eq!(operations, ["CreateSecret", "PutSecretValue"]);
        assert_eq!(entries[0].body.get(), "{ \"Name\": \"a\"}");
    }
}
