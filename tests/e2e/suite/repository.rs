//! Repository rules that the compiler does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reelay_devstack::template::Template;
use serde_json::Value;

pub(crate) fn root() -> PathBuf {
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
fn domain_does_no_io() {
    let found = dependencies(&root().join("shared/domain/Cargo.toml"));
    assert!(found.contains(&"hmac".to_owned()), "the manifest is not read: {found:?}");
    for name in found {
        let acts = ["aws", "tokio", "reqwest", "lambda", "hyper", "getrandom", "rand"];
        assert!(!acts.iter().any(|prefix| name.starts_with(prefix)), "domain depends on {name}");
    }
}

#[test]
fn demo_app_depends_on_no_reelay_crate() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let ours: Vec<&str> = manifest
        .lines()
        .filter(|line| line.contains("{ path = "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(ours.len() > 10, "the manifest is not read");
    for name in dependencies(&root().join("infra/demo-app/Cargo.toml")) {
        assert!(!ours.contains(&name.as_str()), "the demo app depends on {name}");
    }
}

#[test]
fn lambda_binaries_only_boot() {
    for entry in std::fs::read_dir(root().join("functions")).unwrap() {
        let main = entry.unwrap().path().join("src/main.rs");
        let lines = std::fs::read_to_string(&main).unwrap().lines().count();
        assert!(lines < 30, "{} has {lines} lines", main.display());
    }
}

#[test]
fn every_function_has_own_role_and_log_group() {
    let crates: Vec<String> = std::fs::read_dir(root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(crates.len() > 5, "the folder is not read: {crates:?}");
    let template = Template::of_repository().unwrap();
    let mut resources = BTreeMap::<String, Vec<String>>::new();
    for (logical, binary) in template.binaries().unwrap() {
        resources.entry(binary).or_default().push(logical);
    }
    let named: BTreeSet<&String> = resources.keys().collect();
    assert_eq!(named, crates.iter().collect());
    let (mut roles, mut logs) = (BTreeSet::new(), BTreeSet::new());
    for (binary, logical) in &resources {
        let [logical] = logical.as_slice() else {
            panic!("{binary} has several resources: {logical:?}");
        };
        let properties = template.properties(logical).unwrap();
        let text = |pointer: &str| properties.pointer(pointer).map(Value::to_string);
        let role = text("/Role").unwrap_or_else(|| panic!("{logical} has no role"));
        assert!(roles.insert(role), "{logical} shares its role");
        let group =
            text("/LoggingConfig/LogGroup").unwrap_or_else(|| panic!("{logical} has no log group"));
        assert!(logs.insert(group), "{logical} shares its log group");
    }
}

#[test]
fn dependencies_are_declared_once_in_root() {
    for folder in ["shared", "functions", "infra", "tests"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else {
                continue;
            };
            let versioned =
                text.lines().skip_while(|line| *line != "[dependencies]").find(|line| {
                    let line = line.trim();
                    line.contains("version =") || line.contains("= \"")
                });
            assert_eq!(versioned, None, "{}", manifest.display());
        }
    }
}

/// All files below a folder with this extension, as one text.
pub(crate) fn text_below(folder: &Path, extension: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &text_below(&path, extension);
        } else if path.extension().is_some_and(|it| it == extension) {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn security_policy_names_existing_tests() {
    let policy = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let tests: String = ["tests/e2e/suite", "tests/fuzz/tests", "shared", "functions", "infra"]
        .map(|folder| text_below(&root().join(folder), "rs"))
        .concat();
    let mut named = 0;
    // Text between two backticks.
    for quoted in policy.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let is_a_test = quoted.matches('_').count() > 2
            && quoted
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_a_test {
            named += 1;
            assert!(tests.contains(&format!("fn {quoted}(")), "missing: {quoted}");
        } else if ["shared/", "functions/", "infra/", "tests/"]
            .iter()
            .any(|folder| quoted.starts_with(folder))
        {
            assert!(root().join(quoted).exists(), "missing: {quoted}");
        }
    }
    assert!(named > 40, "the policy is not read: {named}");
}
