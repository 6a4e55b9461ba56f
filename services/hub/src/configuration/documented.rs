//! A configuration file that explains itself: every setting with the documentation of the field it sets.
//!
//! The documentation is taken from the sources of the `Config` structs, so that it is written once.

use std::collections::HashMap;

/// A section of the file (empty: the first level), the struct behind it, and the source that documents its fields.
struct Section {
    name: &'static str,
    structure: &'static str,
    source: &'static str,
}

const SECTIONS: [Section; 13] = [
    Section { name: "", structure: "Config", source: include_str!("mod.rs") },
    Section { name: "log", structure: "LogConfig", source: include_str!("mod.rs") },
    Section { name: "admin", structure: "AdminSection", source: include_str!("mod.rs") },
    Section { name: "certificates", structure: "CertificatesConfig", source: include_str!("../certificates/mod.rs") },
    Section { name: "gateway", structure: "GatewaySection", source: include_str!("mod.rs") },
    Section {
        name: "gateway.proxy_protocol",
        structure: "Config",
        source: include_str!("../../../gateway/src/proxy_protocol/mod.rs"),
    },
    Section { name: "gateway.limits", structure: "Limits", source: include_str!("../../../gateway/src/config.rs") },
    Section { name: "gateway.https", structure: "Limits", source: include_str!("../../../gateway/src/https/mod.rs") },
    Section {
        name: "gateway.cloud_to_device",
        structure: "CloudToDevice",
        source: include_str!("../../../gateway/src/config.rs"),
    },
    Section {
        name: "gateway.file_notifications",
        structure: "FileNotifications",
        source: include_str!("../../../gateway/src/config.rs"),
    },
    Section {
        name: "event_log",
        structure: "Config",
        source: include_str!("../../../libs/eventlog/src/embedded/config.rs"),
    },
    Section { name: "kafka", structure: "Config", source: include_str!("../../../libs/eventlog/src/kafka/config.rs") },
    Section { name: "shard", structure: "Config", source: include_str!("../../../shard/src/group/config.rs") },
];

/// Puts the documentation as comments before every section and setting of a printed configuration.
pub fn annotate(toml: &str) -> String {
    let documentation: HashMap<_, _> =
        SECTIONS.iter().map(|section| (section.name, fields(section.source, section.structure))).collect();
    let mut section = "";
    let mut annotated = String::new();
    for line in toml.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']);
        } else if let Some((setting, _)) = line.split_once(" = ") {
            let comments = documentation.get(section).and_then(|fields| fields.get(setting));
            comments.into_iter().flatten().for_each(|comment| {
                annotated.push('#');
                annotated.push_str(comment);
                annotated.push('\n');
            });
        }
        annotated.push_str(line);
        annotated.push('\n');
    }
    annotated
}

/// The documentation of the fields of a struct, by name: lines as they stand behind `///`.
fn fields<'a>(source: &'a str, structure: &str) -> HashMap<&'a str, Vec<&'a str>> {
    let begin = format!("pub struct {structure} {{");
    let body = source.lines().skip_while(|line| !line.starts_with(&begin)).skip(1).take_while(|line| *line != "}");
    let mut fields = HashMap::new();
    let mut comments = Vec::new();
    for line in body.map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            comments.push(comment);
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            fields.insert(name, std::mem::take(&mut comments));
        }
    }
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;
    use crate::configuration::Config;

    #[test]
    fn every_setting_is_explained() {
        let text = annotate(&toml::to_string(&Config::default()).unwrap());
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.windows(2) {
            let [before, setting] = pair else { continue };
            if setting.contains(" = ") && !setting.starts_with('#') {
                assert!(before.starts_with('#'), "{setting} is not explained:\n{text}");
            }
        }
    }

    #[test]
    fn an_explained_file_says_the_same() {
        let plain = toml::to_string(&Config::default()).unwrap();
        let explained = toml::from_str::<Config>(&annotate(&plain)).unwrap();
        assert_eq!(toml::to_string(&explained).unwrap(), plain);
    }
}
