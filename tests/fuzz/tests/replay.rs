//! Runs the corpus through every target.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn targets_hold_for_corpus_and_empty_input() {
    let mut findings = Vec::new();
    for (target, run) in fuzz::TARGETS {
        run(b"");
        let mut replayed = 0;
        for entry in std::fs::read_dir(folder("corpus").join(target)).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                findings.push(path);
            }
            replayed += 1;
        }
        assert!(replayed > 3, "{target} has no corpus");
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn targets_match_corpus_folders_and_binaries() {
    let targets: BTreeSet<String> =
        fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    assert_eq!(names(&folder("libfuzzer/fuzz_targets")), targets);
}
