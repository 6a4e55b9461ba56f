//! The rules of ARCHITECTURE.md that a program can check, checked on cargo's metadata and on the sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use ironhub_tests::TestResult;

/// Who may import whom among our own crates.
const IMPORTS: &[(&str, &[&str])] = &[
    (
        "hub",
        &[
            "gateway",
            "shard",
            "operator",
            "runtime",
            "model",
            "mqtt",
            "amqp",
            "auth",
            "eventlog",
            "shard-client",
            "peer",
        ],
    ),
    ("gateway", &["model", "mqtt", "amqp", "auth", "eventlog", "shard-client", "runtime"]),
    ("shard", &["model", "proto", "eventlog", "runtime", "peer"]),
    ("operator", &["model", "auth", "runtime"]),
    ("shard-client", &["model", "proto"]),
    ("eventlog", &["model", "proto"]),
    ("auth", &["model"]),
    ("proto", &["model"]),
    ("mqtt", &[]),
    ("amqp", &[]),
    ("runtime", &[]),
    ("peer", &[]),
    ("model", &[]),
];

/// Crates of others that only some of ours may use.
const FOREIGN: &[(&str, &[&str])] = &[
    ("openraft", &["shard"]),
    ("rocksdb", &["shard"]),
    ("tonic", &["shard", "shard-client", "proto", "peer"]),
    ("rumqttd", &["mqtt"]),
    ("serde_amqp", &["amqp"]),
    ("fe2o3-amqp-types", &["amqp"]),
    ("hyper", &["gateway", "hub", "runtime", "shard-client"]),
    ("rustls", &["gateway", "hub", "operator", "peer"]),
    ("kube", &["hub", "operator"]),
    ("k8s-openapi", &["hub", "operator"]),
    ("schemars", &["operator"]),
    ("clap", &["hub"]),
    ("toml", &["hub"]),
];

/// Folder, and words that its sources (tests aside) must not contain, with the reason.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "services/libs/mqtt/src",
        &["tokio", "std::net", "SystemTime", "Instant::now", "DeviceId"],
        "sans-IO: no socket, task, clock or device",
    ),
    (
        "services/libs/amqp/src",
        &["tokio", "std::net", "SystemTime", "Instant::now", "DeviceId", "iothub"],
        "sans-IO: no socket, task, clock, device or meaning of an address",
    ),
    (
        "services/libs/auth/src",
        &["tokio", "std::net", "std::fs", "SystemTime", "Timestamp::now"],
        "pure: no IO, no clock",
    ),
    (
        "services/libs/model/src",
        &["tokio", "std::net", "std::fs", "SystemTime", "Timestamp::now"],
        "values: no IO, no clock",
    ),
    ("services/shard/src", &["mqtt::", "hyper::", "http::Request"], "a shard knows no protocol head"),
    (
        "services/shard/src/state",
        &["SystemTime", "Instant::now", "Timestamp::now", "rand", "Uuid", "std::env"],
        "apply is deterministic",
    ),
    (
        "services/operator/src/plan",
        &["kube::", "async fn", "Timestamp::now", "tokio"],
        "pure: from what is wanted and what there is to what is done",
    ),
    ("services/gateway/src", &["rocksdb", "openraft", "proto::"], "a gateway reaches shards by shard-client only"),
];

fn metadata() -> TestResult<Metadata> {
    Ok(MetadataCommand::new().no_deps().manifest_path(root().join("Cargo.toml")).exec()?)
}

fn root() -> PathBuf {
    // Cargo runs tests in the package's folder. A path that is compiled in would be that of whoever built them.
    PathBuf::from("..")
}

/// What the crate itself needs; what only its tests or its build need is free.
fn dependencies(package: &Package) -> BTreeSet<&str> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.as_str()).collect()
}

/// Every Rust file below the folder.
fn sources(folder: &Path) -> TestResult<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            found.push((path, text));
        }
    }
    Ok(found)
}

/// The lines of production code with their numbers: no comments, nothing from the test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]").filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test_file(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with("/tests.rs") || text.contains("/tests/") || text.contains("/benches/")
}

fn contains_word(line: &str, word: &str) -> bool {
    let is_part =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    let starts_with_letter = word.starts_with(char::is_alphanumeric);
    let ends_with_letter = word.ends_with(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !(starts_with_letter && is_part(before) || ends_with_letter && is_part(after))
    })
}

#[test]
fn crates_import_only_what_they_may() -> TestResult {
    let metadata = metadata()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if matches!(name, "ironhub-tests" | "ironhub-loadtest") {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(of, _)| *of == name) else {
            wrong.push(format!("{name} has no row in IMPORTS"));
            continue;
        };
        let used = dependencies(package);
        wrong.extend(
            used.intersection(&ours)
                .filter(|used| !allowed.contains(used))
                .map(|used| format!("{name} imports {used}")),
        );
        for (foreign, users) in FOREIGN {
            if used.contains(foreign) && !users.contains(&name) {
                wrong.push(format!("{name} uses {foreign}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn a_crate_is_named_like_its_folder() -> TestResult {
    for package in metadata()?.packages {
        let folder = package.manifest_path.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
        assert_eq!(package.name.trim_start_matches("ironhub-"), folder);
    }
    Ok(())
}

#[test]
fn what_must_stay_apart_is_apart() -> TestResult {
    let mut wrong = Vec::new();
    for (folder, words, reason) in FORBIDDEN {
        for (path, text) in sources(&root().join(folder))? {
            for (number, line) in code(&text).filter(|_| !is_test_file(&path)) {
                wrong.extend(
                    words
                        .iter()
                        .filter(|word| contains_word(line, word))
                        .map(|word| format!("{}:{number} says `{word}` ({reason})", path.display())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn only_the_binary_reads_the_environment_and_nothing_is_unbounded() -> TestResult {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("services"))?.into_iter().chain(sources(&root().join("proto/src"))?) {
        let is_hub = path.starts_with(root().join("services/hub"));
        for (number, line) in code(&text).filter(|_| !is_test_file(&path)) {
            let place = || format!("{}:{number}", path.display());
            if !is_hub && ["std::env", "env::var", "env::args"].iter().any(|word| contains_word(line, word)) {
                wrong.push(format!("{} reads the environment", place()));
            }
            if ["unbounded_channel", "UnboundedSender", "UnboundedReceiver", "mpsc::unbounded", "sync::mpsc::channel()"]
                .iter()
                .any(|word| line.contains(word))
            {
                wrong.push(format!("{} has an unbounded channel", place()));
            }
            if ["todo!", "unimplemented!", "dbg!("].iter().any(|word| line.contains(word)) {
                wrong.push(format!("{} is not finished", place()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Prints how large files are; nobody should have to read a thousand lines to understand one thing.
#[test]
fn no_file_is_a_book() -> TestResult {
    const LINES_MAX: usize = 700;
    let mut files = Vec::new();
    for folder in ["services", "proto/src", "loadtest/src", "tests/src", "tests/it"] {
        files.extend(sources(&root().join(folder))?.into_iter().map(|(path, text)| (text.lines().count(), path)));
    }
    files.sort();
    let median = files.get(files.len() / 2).map(|(lines, _)| *lines);
    println!("{} files, median {median:?} lines, the largest:", files.len());
    for (lines, path) in files.iter().rev().take(10) {
        println!("{lines:>6} {}", path.display());
    }
    let books: Vec<_> = files.iter().filter(|(lines, _)| *lines > LINES_MAX).collect();
    assert!(books.is_empty(), "{books:#?}");
    Ok(())
}
