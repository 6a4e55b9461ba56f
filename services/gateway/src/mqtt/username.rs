//! The user name of a CONNECT (mqtt §2.2).

use std::borrow::Cow;

use model::{DeviceId, InvalidIdentifier, ModuleId, Principal};

use crate::percent;

/// What a user name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username<'a> {
    /// As sent, perhaps with a port.
    pub host: &'a str,
    pub principal: Principal,
    /// Plug and Play model of the session.
    pub model_id: Option<Cow<'a, str>>,
}

/// Why a text is no user name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    #[error("expected {{host}}/{{device id}}[/{{module id}}]/?api-version=…")]
    Form,
    #[error("in the user name: {0}")]
    Identifier(#[from] InvalidIdentifier),
}

impl<'a> Username<'a> {
    /// Reads the forms that clients send; ids are taken literally, without percent-decoding.
    pub fn parse(text: &'a str) -> Result<Self, InvalidUsername> {
        let segments: Vec<&str> = text.splitn(7, '/').collect();
        let (ids, parameters) = split(&segments)?;
        let (host, device_id, module_id) = match *ids {
            [host, device_id] => (host, device_id, None),
            [host, device_id, module_id] => (host, device_id, Some(module_id)),
            _ => return Err(InvalidUsername::Form),
        };
        let device_id: DeviceId = device_id.parse()?;
        let module_id: Option<ModuleId> = module_id.map(str::parse).transpose()?;
        let model_id = parameter(parameters, "model-id").filter(|id| !id.is_empty());
        Ok(Self { host, principal: Principal { device_id, module_id }, model_id: model_id.map(percent::decode) })
    }
}

/// The segments of host and ids, and the parameters.
fn split<'s, 'a>(segments: &'s [&'a str]) -> Result<(&'s [&'a str], &'a str), InvalidUsername> {
    let (last, before) = segments.split_last().ok_or(InvalidUsername::Form)?;
    if let Some(parameters) = last.strip_prefix('?') {
        return Ok((before, parameters));
    }
    // A preview's oddity: the client type is a path of its own behind the version.
    if let [ids @ .., version, _, _] = segments
        && segments.len() == 6
        && version.starts_with("api-version=")
    {
        return Ok((ids, version));
    }
    if segments.len() > 2 && last.contains("api-version=") { Ok((before, last)) } else { Ok((segments, "")) }
}

/// The first value of that name; names that are not known are not looked at.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use super::*;

    fn check(text: &str, device: &str, module: Option<&str>, model: Option<&str>) {
        let parsed = Username::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.principal.device_id.as_str(), device, "{text}");
        assert_eq!(parsed.principal.module_id.as_ref().map(ModuleId::as_str), module, "{text}");
        assert_eq!(parsed.model_id.as_deref(), model, "{text}");
    }

    #[test]
    fn every_form_that_clients_send() {
        let model = Some("dtmi:com:example:Thermostat;1");
        check("hub.example.test/d1/?api-version=2021-04-12", "d1", None, None);
        check("hub/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0", "d1", None, None);
        check("hub/d1/m1/?api-version=2020-09-30&DeviceClientType=a%3Bb", "d1", Some("m1"), None);
        check(
            "hub/d1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=node",
            "d1",
            None,
            model,
        );
        check("hub/d1/?api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1", "d1", None, model);
        check("hub:8883/d1/?api-version=2021-04-12", "d1", None, None);
        check("hub/d1/m1/?api-version=2018-06-30", "d1", Some("m1"), None);
        check("hub/d1/api-version=2016-11-14", "d1", None, None);
        check("hub/d1/m1/api-version=2016-11-14", "d1", Some("m1"), None);
        check("hub/d1", "d1", None, None);
        check("hub/d1/m1", "d1", Some("m1"), None);
        check("hub/d?1/?api-version=2021-04-12", "d?1", None, None);
        check("hub/d%401/?api-version=2021-04-12", "d%401", None, None);
        let oddity =
            "hub/d1/m1/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003";
        check(oddity, "d1", Some("m1"), None);
        check("hub/d1/?model-id=first&model-id=second&api-version=2021-04-12", "d1", None, Some("first"));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "hub", "hub/", "hub//?api-version=1", "hub/a b/?api-version=1", "hub/a/b/c/?x", "/?x", "a/b/c/d/e/f/g"]
        {
            assert!(Username::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Username::parse(&text);
        }
    }
}
