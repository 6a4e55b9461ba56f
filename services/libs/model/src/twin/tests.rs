//! The tables of twins §2.3 and §2.4, and properties against a small model.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Timestamp;

fn patch(value: Value) -> Patch {
    Patch::parse(value).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_milliseconds(seconds * 1000)
}

fn desired(change: SectionChange) -> TwinChange {
    TwinChange { tags: None, desired: Some(change) }
}

fn patched(twin: Twin, value: Value, seconds: i64) -> Updated {
    twin.update(&desired(SectionChange::Patch(patch(value))), at(seconds)).unwrap()
}

fn properties(value: Value) -> Properties {
    value.as_object().unwrap().clone()
}

#[test]
fn the_merge_table() {
    for (stored, merged, result) in [
        (json!({"a":{"b":1,"c":2}}), json!({"a":{"b":9}}), json!({"a":{"b":9,"c":2}})),
        (json!({"a":1}), json!({"a":null}), json!({})),
        (json!({}), json!({"x":null}), json!({})),
        (json!({}), json!({"p1":{"p2":null}}), json!({"p1":{}})),
        (json!({"a":{"b":1}}), json!({"a":5}), json!({"a":5})),
        (json!({"a":5}), json!({"a":{"b":1}}), json!({"a":{"b":1}})),
        (json!({"a":[1,2]}), json!({"a":[3]}), json!({"a":[3]})),
        (json!({"a":{"b":1}}), json!({"a":{}}), json!({"a":{"b":1}})),
        (json!({"a":{"b":1}}), json!({"a":{"b":null}}), json!({"a":{}})),
    ] {
        let twin = patched(Twin::default(), stored.clone(), 1).twin;
        let twin = patched(twin, merged.clone(), 2).twin;
        assert_eq!(Value::Object(twin.desired.properties), result, "{stored} + {merged}");
    }
}

#[test]
fn a_new_twin_and_its_counters() {
    let twin = Twin::default();
    assert_eq!((twin.version(), twin.etag.to_string().as_str()), (2, "AAAAAAAAAAE="));
    assert_eq!(TwinETag::parse("AAAAAAAAAAE="), Some(TwinETag(1)));
    assert_eq!(TwinETag::parse("MA=="), None);
    let never = json!({"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1});
    assert_eq!(twin.desired.to_service_json(), never);
    let twin = twin.report(patch(json!({"a":1})), at(1)).unwrap();
    assert_eq!((twin.version(), twin.etag, twin.reported.version), (3, TwinETag(1), 2));
    let twin = patched(twin, json!({}), 2).twin;
    assert_eq!((twin.version(), twin.etag, twin.desired.version), (4, TwinETag(2), 2));
    assert_eq!(twin.to_device_json(), json!({"desired":{"$version":2},"reported":{"a":1,"$version":2}}));
}

#[test]
fn metadata_of_the_specification() {
    let twin = patched(Twin::default(), json!({"t":{"a":1}}), 2).twin;
    let twin = patched(twin, json!({"t":{"b":2}}), 3).twin;
    let (t2, t3) = (at(2).to_string(), at(3).to_string());
    let expected = json!({"t":{"a":1,"b":2},"$metadata":{"$lastUpdated":t3,"$lastUpdatedVersion":3,
        "t":{"$lastUpdated":t3,"$lastUpdatedVersion":3,
            "a":{"$lastUpdated":t2,"$lastUpdatedVersion":2},"b":{"$lastUpdated":t3,"$lastUpdatedVersion":3}}},"$version":3});
    assert_eq!(twin.desired.to_service_json(), expected);
    let twin = twin.report(patch(json!({"r":1})), at(4)).unwrap();
    let t4 = at(4).to_string();
    let expected = json!({"r":1,"$metadata":{"$lastUpdated":t4,"r":{"$lastUpdated":t4}},"$version":2});
    assert_eq!(twin.reported.to_service_json(), expected);
}

#[test]
fn devices_are_told_the_patch_as_it_was_sent() {
    let updated = patched(Twin::default(), json!({"a":1,"gone":null,"$version":77,"$metadata":{}}), 1);
    assert_eq!(updated.desired_delta, Some(json!({"a":1,"gone":null,"$version":2})));
    let replaced = updated.twin.update(&desired(SectionChange::Replace(patch(json!({"c":100})))), at(2)).unwrap();
    assert_eq!(replaced.desired_delta, Some(json!({"a":null,"c":100,"$version":3})));
    let tags = TwinChange { tags: Some(SectionChange::Patch(patch(json!({"t":1})))), desired: None };
    let tagged = replaced.twin.clone().update(&tags, at(3)).unwrap();
    assert_eq!((tagged.desired_delta, tagged.twin.desired), (None, replaced.twin.desired));
}

#[test]
fn limits_at_their_boundaries() {
    let parse = |value: Value| Patch::parse(value);
    let named = |length: usize| json!({ "k".repeat(length): 1 });
    assert!(parse(named(1024)).is_ok() && matches!(parse(named(1025)), Err(InvalidPatch::NameTooLong(_))));
    let text = |length: usize| json!({ "k": "v".repeat(length) });
    assert!(parse(text(4096)).is_ok() && matches!(parse(text(4097)), Err(InvalidPatch::TextTooLong(_, 4097))));
    for (number, fits) in [
        (json!(4_503_599_627_370_495_i64), true),
        (json!(4_503_599_627_370_496_i64), false),
        (json!(-4_503_599_627_370_496_i64), true),
        (json!(-4_503_599_627_370_497_i64), false),
        (json!(u64::MAX), false),
        (json!(1e300), true),
    ] {
        assert_eq!(parse(json!({ "n": number })).is_ok(), fits, "{number}");
    }
    for name in ["a.b", "$a", "a#", "a b", "a\u{1}", "a\u{85}", "a\tb"] {
        assert!(matches!(parse(json!({ name: 1 })), Err(InvalidPatch::Name(_))), "{name:?}");
        assert!(parse(json!({ "a": [{ name: 1 }] })).is_err(), "{name:?} in an array");
    }
    assert!(parse(json!({ "": 1, "ü-ß_日": true })).is_ok());
    for value in [json!([1, null]), json!([{ "b": null }])] {
        assert!(matches!(parse(json!({ "a": value })), Err(InvalidPatch::NullInArray(_))));
    }
    for value in [json!(null), json!(5), json!([]), json!("x")] {
        assert!(matches!(parse(value), Err(InvalidPatch::NotAnObject(_))));
    }
}

#[test]
fn numbers_stay_the_same_however_often_they_are_read() {
    for text in ["21.349999999999998", "2.2250738585072014e-308", "1.7976931348623157e308", "-0.1", "4503599627370495"]
    {
        let patch = Patch::parse_text(format!(r#"{{"n":{text}}}"#).as_bytes()).unwrap();
        let again = Patch::parse_text(&patch.to_text()).unwrap();
        assert_eq!(
            again.properties()["n"].as_f64().map(f64::to_bits),
            text.parse::<f64>().ok().map(f64::to_bits),
            "{text}"
        );
    }
}

#[test]
fn ten_levels_and_no_more() {
    let nested = |levels: usize, innermost: Value| (0..levels).fold(innermost, |inner, _| json!({ "l": inner }));
    assert!(Patch::parse(nested(10, json!({}))).is_ok());
    assert!(Patch::parse(nested(11, json!(1))).is_ok());
    assert!(matches!(Patch::parse(nested(11, json!({}))), Err(InvalidPatch::TooDeep(_))));
    assert!(matches!(Patch::parse(nested(11, json!([]))), Err(InvalidPatch::TooDeep(_))));
}

/// A section of exactly so many bytes: names of one byte, texts of up to 4096.
fn filled(bytes: usize) -> Value {
    let mut left = bytes;
    let mut members = Properties::new();
    for name in 'a'..='z' {
        let length = left.saturating_sub(1).min(4096);
        members.insert(name.to_string(), json!("x".repeat(length)));
        left -= length + 1;
        if left == 0 {
            break;
        }
    }
    Value::Object(members)
}

#[test]
fn sizes_count_names_and_values() {
    let example = properties(json!({"a":{"b":12,"c":"xyz","d":true}}));
    assert_eq!(size::of_object(&example), 19);
    assert_eq!(size::of_object(&properties(json!({"k":"a\u{1}ü","l":[1,false,null]}))), 1 + 3 + 1 + 8 + 4);
    let update = |bytes| Twin::default().update(&desired(SectionChange::Patch(patch(filled(bytes)))), at(1));
    assert!(update(SECTION_BYTES_MAX).is_ok() && update(SECTION_BYTES_MAX + 1).is_err());
    let report = |bytes| Twin::default().report(patch(filled(bytes)), at(1));
    assert!(report(SECTION_BYTES_MAX).is_ok() && report(SECTION_BYTES_MAX + 1).is_err());
    let tags = |bytes| {
        let change = TwinChange { tags: Some(SectionChange::Patch(patch(filled(bytes)))), desired: None };
        Twin::default().update(&change, at(1))
    };
    assert!(tags(TAGS_BYTES_MAX).is_ok() && tags(TAGS_BYTES_MAX + 1).is_err());
}

/// JSON that a patch may be.
fn any_patch() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        prop::collection::vec(0_i64..3, 0..3).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|members| members.into_iter().collect())
    });
    prop::collection::btree_map("[a-d]", value, 0..4).prop_map(|members| members.into_iter().collect())
}

/// Merging, said in the fewest words.
fn merged(stored: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut members = stored.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        let result = merged(members.get(name).unwrap_or(&Value::Null), value);
        members.remove(name);
        if !result.is_null() {
            members.insert(name.clone(), result);
        }
    }
    Value::Object(members)
}

/// Every node of the section, leaves and objects, by path.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Value::Object(members) = value {
        for (name, member) in members.iter().filter(|(name, _)| !name.starts_with('$')) {
            found.push(format!("{at}/{name}"));
            // The metadata of a leaf has members of its own, which begin with `$`.
            paths(member, &format!("{at}/{name}"), found);
        }
    }
}

proptest! {
    #[test]
    fn a_section_is_what_the_model_says(patches in prop::collection::vec((any_patch(), any::<bool>()), 1..8)) {
        let (mut twin, mut model, mut device) = (Twin::default(), json!({}), json!({}));
        for (step, (value, replaces)) in patches.into_iter().enumerate() {
            let before = twin.clone();
            let change = if replaces { SectionChange::Replace } else { SectionChange::Patch };
            let updated = twin.update(&desired(change(patch(value.clone()))), at(step as i64)).unwrap();
            model = merged(if replaces { &Value::Null } else { &model }, &value);
            // A device that applies what it is told has what is stored.
            let mut delta = updated.desired_delta.unwrap();
            prop_assert_eq!(delta.as_object_mut().unwrap().remove("$version"), Some(json!(before.desired.version + 1)));
            device = merged(&device, &delta);
            twin = updated.twin;
            prop_assert_eq!(&Value::Object(twin.desired.properties.clone()), &model);
            prop_assert_eq!(&device, &model);
            prop_assert_eq!(twin.version(), before.version() + 1);
            prop_assert_eq!(&twin.reported, &before.reported);
            let (mut of_values, mut of_metadata) = (Vec::new(), Vec::new());
            paths(&model, "", &mut of_values);
            paths(&twin.desired.metadata.to_json(), "", &mut of_metadata);
            of_values.sort();
            of_metadata.sort();
            prop_assert_eq!(of_values, of_metadata);
        }
    }

    #[test]
    fn any_text_is_a_patch_or_an_error(text in ".{0,200}") {
        let _ = Patch::parse_text(text.as_bytes());
    }
}
