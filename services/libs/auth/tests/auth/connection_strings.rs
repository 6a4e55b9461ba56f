//! Connection strings (security §2).

use auth::{ConnectionString, InvalidConnectionString};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn every_kind_reads_back_as_it_was_printed() {
    for text in [
        format!("HostName=hub.example.test;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"),
        format!("HostName=hub.example.test;DeviceId=a@b#1;SharedAccessKey={KEY}"),
        format!("HostName=127.0.0.1:8443;DeviceId=d;ModuleId=$edgeHub;SharedAccessKey={KEY}"),
        "HostName=[::1]:8443".to_owned(),
    ] {
        assert_eq!(text.parse::<ConnectionString>().map(|parsed| parsed.to_string()), Ok(text));
    }
}

#[test]
fn what_is_wrong_is_named_and_the_key_is_not() {
    use InvalidConnectionString::{HostName, Part, UnknownName, Value};
    for (text, expected) in [
        ("", HostName),
        ("SharedAccessKeyName=x", HostName),
        ("HostName=", Value("HostName")),
        ("HostName=a b", Value("HostName")),
        ("HostName=hub\0\n;;;", Value("HostName")),
        ("HostName=h;SharedAccessKeyName=", Value("SharedAccessKeyName")),
        ("HostName=h;SharedAccessKey=secret", Value("SharedAccessKey")),
        ("HostName=h;DeviceId=a/b", Value("DeviceId")),
        ("HostName=h;secret", Part),
        ("HostName=h;hostname=h", UnknownName("hostname".to_owned())),
    ] {
        let refused = text.parse::<ConnectionString>();
        assert_eq!(refused, Err(expected.clone()), "{text:?}");
        assert!(!expected.to_string().contains("secret"));
    }
}
