//! What a token is for: its `sr` against the resource that is asked for (security §3.3).
//!
//! Clients encode the resource as a whole, in parts, or not at all, and ids once more on top. So each segment of the
//! `sr` stands for three texts: itself, decoded once and decoded twice; it equals a name when one of them does.

use std::{borrow::Cow, str::FromStr};

use model::Principal;

use crate::percent;

/// The names this hub is known by. They compare without case, port and scheme.
#[derive(Clone, Debug, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// Names or addresses without port, such as `hub.example.test` or `::1`.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(names.into_iter().map(|name| host_of(name.as_ref()).to_ascii_lowercase()).collect())
    }

    /// Whether the text, perhaps with a port or a scheme, is one of the names.
    pub fn contains(&self, text: &str) -> bool {
        let host = host_of(text);
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// The first name: what the hub calls itself.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

/// Without scheme, port and the brackets of an IPv6 address.
fn host_of(text: &str) -> &str {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    if let Some((address, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    }
}

/// A `sr` text, cut into segments.
pub(crate) struct Audience<'a> {
    host: &'a str,
    segments: Vec<&'a str>,
}

impl<'a> Audience<'a> {
    /// Cuts at raw slashes when there are any, else at encoded ones: an id may hold the characters `%2F`.
    pub fn parse(resource: &'a str) -> Self {
        let resource = without_scheme(resource);
        let all = if resource.contains('/') { resource.split('/').collect() } else { split_encoded(resource) };
        let mut segments = all.into_iter().filter(|segment| !segment.is_empty());
        Self { host: segments.next().unwrap_or_default(), segments: segments.collect() }
    }

    /// Whether it is something of this hub.
    pub fn is_of(&self, hosts: &HostNames) -> bool {
        any_decoding(self.host, |host| hosts.contains(host))
    }

    /// The device or module that it names, in every reading of its ids, the likeliest first; none when it names a whole
    /// hub or something else.
    pub fn principals(&self) -> Vec<Principal> {
        let is = |position: usize, literal: &str| {
            self.segments.get(position).is_some_and(|segment| Name::Literal(literal).is(segment))
        };
        let (true, Some(device)) = (is(0, "devices"), self.segments.get(1)) else { return Vec::new() };
        let module = self.segments.get(3).filter(|_| is(2, "modules"));
        let mut principals = Vec::new();
        for reading in [1, 2, 0] {
            let principal = match module {
                None => read(device, reading).map(Principal::device),
                Some(module) => read(device, reading)
                    .zip(read(module, reading))
                    .map(|(device, module)| Principal::module(device, module)),
            };
            principals.extend(principal.filter(|principal| !principals.contains(principal)));
        }
        principals
    }

    /// Whether this is the principal, or something that contains it: the hub, or all devices. What clients write
    /// behind the principal (`messages/events`, `api-version=…`) is ignored.
    pub fn covers_principal(&self, principal: &Principal, hosts: &HostNames) -> bool {
        let mut names = vec![Name::Literal("devices"), Name::Id(principal.device_id.as_str())];
        if let Some(module_id) = &principal.module_id {
            names.extend([Name::Literal("modules"), Name::Id(module_id.as_str())]);
        }
        self.covers(&names, hosts)
    }

    /// Whether this is the resource of a service operation, such as `["devices", "d1"]`, or contains it. The second,
    /// fourth, … segment is an id, the others are literals.
    pub fn covers_path(&self, path: &[&str], hosts: &HostNames) -> bool {
        let name = |(position, segment)| if position % 2 == 1 { Name::Id(segment) } else { Name::Literal(segment) };
        let names: Vec<_> = path.iter().copied().enumerate().map(name).collect();
        self.covers(&names, hosts)
    }

    /// Whether this is a resource of literal segments, contains it, or lies within it.
    pub fn meets_path(&self, path: &[&str], hosts: &HostNames) -> bool {
        let literal = |(segment, name): (&&str, &&str)| Name::Literal(name).is(segment);
        any_decoding(self.host, |host| hosts.contains(host)) && self.segments.iter().zip(path).all(literal)
    }

    /// A prefix by whole segments; of what stands behind the last name only what may be ignored.
    fn covers(&self, names: &[Name<'_>], hosts: &HostNames) -> bool {
        any_decoding(self.host, |host| hosts.contains(host))
            && self.segments.get(names.len()).is_none_or(|segment| is_ignored(segment))
            && self.segments.iter().zip(names).all(|(segment, name)| name.is(segment))
    }
}

/// What a segment is compared with.
enum Name<'a> {
    /// Compared without case.
    Literal(&'a str),
    /// Compared with case; a query behind it is ignored, unless the id itself looks like that.
    Id(&'a str),
}

impl Name<'_> {
    fn is(&self, segment: &str) -> bool {
        any_decoding(segment, |text| match self {
            Self::Literal(literal) => text.eq_ignore_ascii_case(literal),
            Self::Id(id) => text == *id || text.split_once("?api-version=").is_some_and(|(text, _)| text == *id),
        })
    }
}

/// The segment as an id, decoded so often; `None`: it is none then.
fn read<T: FromStr>(segment: &str, times: usize) -> Option<T> {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..times {
        text = Cow::Owned(percent::decode(&text)?.into_owned());
    }
    text.parse().ok()
}

fn any_decoding(segment: &str, is_wanted: impl Fn(&str) -> bool) -> bool {
    if is_wanted(segment) {
        return true;
    }
    let Some(once) = percent::decode(segment) else { return false };
    is_wanted(&once) || percent::decode(&once).is_some_and(|twice| is_wanted(&twice))
}

/// Operations on the principal, and the query of Device Explorer's tokens.
fn is_ignored(segment: &str) -> bool {
    any_decoding(segment, |text| {
        let lower = text.to_ascii_lowercase();
        lower == "messages" || lower.starts_with("api-version=") || lower.starts_with("?api-version=")
    })
}

fn without_scheme(resource: &str) -> &str {
    const ENCODED: &str = "%3a%2f%2f";
    if let Some((_, rest)) = resource.split_once("://") {
        return rest;
    }
    match resource.to_ascii_lowercase().find(ENCODED) {
        Some(at) => resource.get(at + ENCODED.len()..).unwrap_or_default(),
        None => resource,
    }
}

fn split_encoded(resource: &str) -> Vec<&str> {
    let is_slash = |at: usize| resource.get(at..at + 3).is_some_and(|text| text.eq_ignore_ascii_case("%2f"));
    let slashes = resource.match_indices('%').map(|(at, _)| at).filter(|at| is_slash(*at));
    let mut start = 0;
    let mut segments = Vec::new();
    for at in slashes.chain([resource.len()]) {
        segments.push(resource.get(start..at).unwrap_or_default());
        start = at + 3;
    }
    segments
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use super::*;

    fn covers(resource: &str, device: &str, module: Option<&str>) -> bool {
        let device_id = device.parse().unwrap();
        let principal = Principal { device_id, module_id: module.map(|module| module.parse().unwrap()) };
        Audience::parse(resource).covers_principal(&principal, &HostNames::new(["hub.example.test", "alias", "::1"]))
    }

    #[test]
    fn a_principal_is_read_in_every_way_it_may_be_written() {
        let read =
            |resource: &str| Audience::parse(resource).principals().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read("hub/devices/d1"), ["d1"]);
        assert_eq!(read("hub%2Fdevices%2Fd1%2Fmodules%2Fm1"), ["d1/m1"]);
        assert_eq!(read("hub/devices/a%2540b"), ["a%40b", "a@b", "a%2540b"]);
        assert_eq!(read("hub/devices/d1/messages/events"), ["d1"]);
        for resource in ["hub", "hub/devices", "hub/messages/events", "hub/devices/a b"] {
            assert!(read(resource).is_empty(), "{resource}");
        }
    }

    #[test]
    fn names_of_the_hub_compare_without_case_scheme_and_port() {
        let hosts = HostNames::new(["hub.example.test", "127.0.0.1:8883", "::1"]);
        for text in [
            "hub.example.test",
            "HUB.Example.Test",
            "hub.example.test:8883",
            "https://hub.example.test",
            "amqps://hub.example.test:5671",
            "127.0.0.1",
            "::1",
            "[::1]",
            "[::1]:443",
        ] {
            assert!(hosts.contains(text), "{text}");
        }
        for text in ["", "hub", "hub.example.test.evil", "evil.hub.example.test", "hub.example.test:x", "::2"] {
            assert!(!hosts.contains(text), "{text}");
        }
    }

    #[test]
    fn every_way_to_write_a_device_or_what_contains_it() {
        for resource in [
            "hub.example.test",
            "alias",
            "HUB.Example.test%3A8883",
            "hub.example.test:443",
            "%5B%3A%3A1%5D%3A443",
            "hub.example.test%2fdevices",
            "hub.example.test/devices/",
            "hub.example.test/devices/d1",
            "hub.example.test/Devices/d1/",
            "hub.example.test%2Fdevices%2Fd1",
            "hub.example.test%2fDEVICES%2fd1",
            "https://hub.example.test/devices/d1",
            "amqps%3A%2F%2Fhub.example.test%3A5671%2Fdevices%2Fd1",
            "hub.example.test/devices/d1/messages/events",
            "hub.example.test%2Fdevices%2Fd1%2Fapi-version%3D2016-11-14",
            "hub.example.test/devices/d1?api-version=2016-11-14",
            "hub.example.test%2Fdevices%2Fd1%3Fapi-version%3D2016-11-14",
        ] {
            assert!(covers(resource, "d1", None), "{resource}");
        }
    }

    #[test]
    fn nothing_else_is_covered() {
        for resource in [
            "",
            "/",
            "other.example.test",
            "other.example.test/devices/d1",
            "hub.example.test/devices/d",
            "hub.example.test/devices/d10",
            "hub.example.test/devices/D1",
            "hub.example.test/twins/d1",
            "hub.example.test/devices/d1/modules/m1",
            "hub.example.test%2Fdevices%2Fd1%2Fmodules%2Fm1",
            "hub.example.test/devices/d1/files",
            "hub.example.test/devices/d1%2Fx",
            "devices/d1",
            "d1",
        ] {
            assert!(!covers(resource, "d1", None), "{resource}");
        }
    }

    #[test]
    fn ids_are_compared_as_they_are_and_decoded_once_and_twice() {
        for resource in ["alias/devices/a@b", "alias%2Fdevices%2Fa%40b", "alias%2Fdevices%2Fa%2540b"] {
            assert!(covers(resource, "a@b", None), "{resource}");
        }
        assert!(covers("alias/devices/a%40b", "a@b", None));
        assert!(covers("alias/devices/a%2Fb", "a%2Fb", None), "an id that looks encoded, written raw");
        assert!(covers("alias%2Fdevices%2Fa%252Fb", "a%2Fb", None), "an id that looks encoded, written encoded");
        assert!(covers("alias/devices/x?api-version=1", "x?api-version=1", None), "an id that looks like a query");
        assert!(!covers("alias/devices/a%2Fb", "a", None), "the id a%2Fb is not the device a");
        assert!(!covers("alias%2Fdevices%2Fa%25252540b", "a@b", None), "three times is too much");
        assert!(!covers("alias/devices/a+b", "ab", None));
    }

    #[test]
    fn modules_need_the_device_before_them() {
        for resource in [
            "alias%2Fdevices%2Fd1%2Fmodules%2Fm1",
            "alias/devices/d1/modules/m1",
            "alias/devices/d1",
            "alias/devices/d1/modules/m1/messages/events",
        ] {
            assert!(covers(resource, "d1", Some("m1")), "{resource}");
        }
        for resource in ["alias/devices/d1/modules/m2", "alias/devices/d2/modules/m1", "alias/modules/m1"] {
            assert!(!covers(resource, "d1", Some("m1")), "{resource}");
        }
    }

    #[test]
    fn resources_with_parts_are_met_by_what_contains_them_and_by_their_parts() {
        let hosts = HostNames::new(["h"]);
        for resource in [
            "h",
            "sb://h",
            "sb%3a%2f%2fh%2fevents",
            "sb://h:5671/Events/ConsumerGroups/$Default/Partitions/0",
            "sb%3A%2F%2Fh%2Fevents%2FConsumerGroups%2F%24Default%2FPartitions%2F0",
            "h/events/$management",
        ] {
            assert!(Audience::parse(resource).meets_path(&["events"], &hosts), "{resource}");
        }
        for resource in ["", "i", "h/other", "h/devices/d1", "h/event", "i/events"] {
            assert!(!Audience::parse(resource).meets_path(&["events"], &hosts), "{resource}");
        }
        assert!(Audience::parse("h/messages").meets_path(&["messages", "events"], &hosts));
        assert!(!Audience::parse("h/messages/devicebound").meets_path(&["messages", "events"], &hosts));
    }

    #[test]
    fn service_resources_are_covered_by_whole_segments() {
        let (hosts, path) = (HostNames::new(["h"]), ["devices", "d1", "modules", "m1"]);
        for resource in ["h", "h/devices", "h%2FDevices%2Fd1", "h/devices/d1/modules", "h/devices/d1/modules/m1"] {
            assert!(Audience::parse(resource).covers_path(&path, &hosts), "{resource}");
        }
        for resource in ["h/twins", "h/devices/d", "h/devices/D1", "h/devices/d1/modules/m1/x", "i"] {
            assert!(!Audience::parse(resource).covers_path(&path, &hosts), "{resource}");
        }
    }
}
