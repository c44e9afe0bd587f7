//! Rules of the repository that no compiler checks.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in a crate's `[dependencies]`.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    text.lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_domain_does_no_io() {
    let found = dependencies(&root().join("shared/domain/Cargo.toml"));
    assert!(
        found.contains(&"hmac".to_owned()),
        "the manifest is not read: {found:?}"
    );
    for name in found {
        let acts = [
            "aws",
            "tokio",
            "reqwest",
            "lambda",
            "hyper",
            "getrandom",
            "rand",
        ];
        assert!(
            !acts.iter().any(|prefix| name.starts_with(prefix)),
            "domain depends on {name}"
        );
    }
}

#[test]
fn the_demo_app_knows_nothing_but_the_public_contract() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let ours: Vec<&str> = manifest
        .lines()
        .filter(|line| line.contains("{ path = "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(ours.len() > 10, "the manifest is not read");
    for name in dependencies(&root().join("infra/demo-app/Cargo.toml")) {
        assert!(
            !ours.contains(&name.as_str()),
            "the demo app depends on {name}"
        );
    }
}

#[test]
fn every_lambda_binary_only_boots() {
    for entry in std::fs::read_dir(root().join("functions")).unwrap() {
        let main = entry.unwrap().path().join("src/main.rs");
        let lines = std::fs::read_to_string(&main).unwrap().lines().count();
        assert!(lines < 30, "{} has {lines} lines", main.display());
    }
}

#[test]
fn every_shared_dependency_is_declared_once_in_the_root() {
    for folder in ["shared", "functions", "infra", "tests"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else {
                continue;
            };
            let versioned = text
                .lines()
                .skip_while(|line| *line != "[dependencies]")
                .find(|line| {
                    let line = line.trim();
                    line.contains("version =") || line.contains("= \"")
                });
            assert_eq!(versioned, None, "{}", manifest.display());
        }
    }
}
