//! A configuration file that explains itself: every setting with the documentation of the field it sets.
//!
//! The documentation is taken from the sources of the `Config` structs, so that it is written once.

use std::collections::HashMap;

/// A section of the file (empty: the first level), the struct behind it, and the source that documents its fields.
#[derive(Clone, Copy)]
pub struct Section {
    pub name: &'static str,
    pub structure: &'static str,
    pub source: &'static str,
}

pub const LOG: Section = Section { name: "log", structure: "LogConfig", source: include_str!("mod.rs") };
pub const ADMIN: Section = Section { name: "admin", structure: "AdminSection", source: include_str!("mod.rs") };
pub const CERTIFICATES: Section =
    Section { name: "certificates", structure: "CertificatesConfig", source: include_str!("../certificates/mod.rs") };
pub const GATEWAY: [Section; 6] = [
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
];
pub const EMBEDDED_LOG: Section = Section {
    name: "event_log",
    structure: "Config",
    source: include_str!("../../../libs/eventlog/src/embedded/config.rs"),
};
pub const KAFKA: Section =
    Section { name: "kafka", structure: "Config", source: include_str!("../../../libs/eventlog/src/kafka/config.rs") };
pub const SHARD: Section =
    Section { name: "shard", structure: "Config", source: include_str!("../../../shard/src/group/config.rs") };
pub const PEER: Section =
    Section { name: "peer", structure: "Files", source: include_str!("../../../libs/peer/src/credentials.rs") };

/// Puts the documentation as comments before every section and setting of a printed configuration.
pub fn annotate(toml: &str, sections: &[&[Section]]) -> String {
    let documentation: HashMap<_, _> = sections
        .iter()
        .copied()
        .flatten()
        .map(|section| (section.name, fields(section.source, section.structure)))
        .collect();
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
    use crate::configuration::{AllConfig, GatewayConfig, OperatorConfig, RoleConfig, ShardConfig};

    fn every_setting_of<C: RoleConfig>() {
        let text = C::default().to_toml().unwrap();
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.windows(2) {
            let [before, setting] = pair else { continue };
            if setting.contains(" = ") && !setting.starts_with('#') {
                assert!(before.starts_with('#'), "{setting} is not explained:\n{text}");
            }
        }
    }

    fn the_same<C: RoleConfig>() {
        let plain = toml::to_string(&C::default()).unwrap();
        let explained = toml::from_str::<C>(&C::default().to_toml().unwrap()).unwrap();
        assert_eq!(toml::to_string(&explained).unwrap(), plain);
    }

    #[test]
    fn every_setting_is_explained() {
        every_setting_of::<AllConfig>();
        every_setting_of::<GatewayConfig>();
        every_setting_of::<ShardConfig>();
        every_setting_of::<OperatorConfig>();
    }

    #[test]
    fn an_explained_file_says_the_same() {
        the_same::<AllConfig>();
        the_same::<GatewayConfig>();
        the_same::<ShardConfig>();
        the_same::<OperatorConfig>();
    }
}
