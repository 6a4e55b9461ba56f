//! Keys are read back, and ranges hold their rows and no others.

use proptest::prelude::*;

use super::*;

fn device_id() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,20}".prop_map(|id| id.parse().unwrap_or_else(|_| unreachable!()))
}

fn module_id() -> impl Strategy<Value = ModuleId> {
    "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,20}".prop_map(|id| id.parse().unwrap_or_else(|_| unreachable!()))
}

fn principal() -> impl Strategy<Value = Principal> {
    (device_id(), proptest::option::of(module_id()))
        .prop_map(|(device_id, module_id)| Principal { device_id, module_id })
}

fn within(key: &[u8], range: &Range) -> bool {
    range.from.as_slice() <= key && key < range.to.as_slice()
}

proptest! {
    #[test]
    fn every_key_is_read_back(p in principal(), m in module_id(), incarnation: u64, sequence: u64) {
        let d = p.device_id.clone();
        prop_assert_eq!(Key::decode(&time()), Some(Key::Time));
        prop_assert_eq!(Key::decode(&etag()), Some(Key::ETag));
        prop_assert_eq!(Key::decode(&statistics()), Some(Key::Statistics));
        prop_assert_eq!(Key::decode(&settings()), Some(Key::Settings));
        prop_assert_eq!(Key::decode(&device(&d)), Some(Key::Device(d.clone())));
        prop_assert_eq!(Key::decode(&module(&d, &m)), Some(Key::Module(d, m)));
        prop_assert_eq!(Key::decode(&session(&p)), Some(Key::Session(p.clone())));
        prop_assert_eq!(Key::decode(&presence(&p)), Some(Key::Presence(p.clone())));
        prop_assert_eq!(Key::decode(&twin(&p)), Some(Key::Twin(p.clone())));
        prop_assert_eq!(Key::decode(&desired_delta(&p, sequence)), Some(Key::DesiredDelta(p.clone(), sequence)));
        prop_assert_eq!(Key::decode(&queue(&p)), Some(Key::Queue(p.clone())));
        prop_assert_eq!(Key::decode(&message(&p, sequence)), Some(Key::Message(p.clone(), sequence)));
        let time = incarnation;
        let key = expiry(time, &p, sequence);
        prop_assert_eq!(Key::decode(&key), Some(Key::Expiry { time, principal: p, sequence }));
        prop_assert_eq!(Key::decode(&feedback_number()), Some(Key::FeedbackNumber));
        prop_assert_eq!(Key::decode(&feedback(sequence)), Some(Key::Feedback(sequence)));
        prop_assert_eq!(Key::decode(&feedback_batch(sequence)), Some(Key::FeedbackBatch(sequence)));
        prop_assert_eq!(Key::decode(&file_notification_number()), Some(Key::FileNotificationNumber));
        prop_assert_eq!(Key::decode(&file_notification(sequence)), Some(Key::FileNotification(sequence)));
        prop_assert_eq!(Key::decode(&cluster_settings()), Some(Key::ClusterSettings));
        prop_assert_eq!(Key::decode(&cluster_node(sequence)), Some(Key::ClusterNode { node_id: sequence }));
        prop_assert_eq!(Key::decode(&client(incarnation)), Some(Key::Client { incarnation }));
        prop_assert_eq!(Key::decode(&result(incarnation, sequence)), Some(Key::Result { incarnation, sequence }));
    }

    #[test]
    fn any_bytes_are_no_panic(bytes: Vec<u8>) {
        let _ = Key::decode(&bytes);
    }

    #[test]
    fn ranges_hold_their_rows_and_no_others(
        p in principal(), other in device_id(), m in module_id(), incarnation: u64, sequence: u64,
    ) {
        prop_assert!(within(&session(&p), &sessions_of(&p.device_id)));
        prop_assert!(within(&presence(&p), &presences_of(&p.device_id)));
        prop_assert!(within(&module(&p.device_id, &m), &modules_of(&p.device_id)));
        prop_assert_eq!(within(&session(&p), &sessions_of(&other)), p.device_id == other);
        prop_assert_eq!(within(&module(&other, &m), &modules_of(&p.device_id)), p.device_id == other);
        prop_assert!(within(&twin(&p), &twins_of(&p.device_id)));
        prop_assert!(within(&desired_delta(&p, sequence), &desired_deltas_of(&p.device_id)));
        prop_assert!(within(&desired_delta(&p, sequence), &desired_deltas(&p, 0)));
        prop_assert_eq!(
            within(&desired_delta(&Principal::device(other.clone()), sequence), &desired_deltas(&p, 0)),
            p == Principal::device(other.clone())
        );
        prop_assert_eq!(within(&desired_delta(&p, sequence), &desired_deltas(&p, incarnation)), sequence >= incarnation);
        prop_assert!(within(&message(&p, sequence), &messages(&p)));
        prop_assert!(within(&message(&p, sequence), &messages_of(&p.device_id)));
        prop_assert_eq!(within(&expiry(sequence, &p, 1), &expiries_until(incarnation)), sequence <= incarnation);
        prop_assert!(within(&feedback(sequence), &all_feedback()));
        prop_assert!(within(&feedback_batch(sequence), &feedback_batches()));
        prop_assert!(within(&file_notification(sequence), &file_notifications()));
        prop_assert!(!within(&file_notification(sequence), &feedback_batches()));
        prop_assert!(within(&cluster_node(sequence), &cluster_nodes()) && !within(&client(sequence), &cluster_nodes()));
        prop_assert!(within(&result(incarnation, sequence), &results_of(incarnation)));
        prop_assert!(!within(&result(incarnation.wrapping_add(1), sequence), &results_of(incarnation)));
        prop_assert!(within(&client(incarnation), &clients()));
        prop_assert!(within(&presence(&p), &presences()) && !within(&session(&p), &presences()));
    }

    #[test]
    fn devices_are_listed_behind_an_id_in_byte_order(a in device_id(), b in device_id()) {
        prop_assert!(within(&device(&a), &devices_after(None)));
        prop_assert_eq!(within(&device(&b), &devices_after(Some(&a))), b.as_str() > a.as_str());
    }
}
