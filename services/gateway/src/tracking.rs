//! Tracking ids: what a caller quotes, and an operator finds in the log.

use crate::front;

/// Names one failed request to its caller and in the log (rest §21.1):
/// `{32 hexadecimal digits}-G:{gateway}-TimeStamp:MM/DD/YYYY HH:MM:SS`.
pub(crate) fn tracking_id() -> String {
    let text = front::now().to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let time = format!("{}/{}/{} {}", part(5..7), part(8..10), part(0..4), part(11..19));
    format!("{}-G:0-TimeStamp:{time}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracking_id_has_the_form_that_tools_look_for() {
        let id = tracking_id();
        let (hexadecimal, time) = id.split_once("-G:0-TimeStamp:").unwrap_or_default();
        assert_eq!(hexadecimal.len(), 32);
        assert_eq!(
            (time.len(), time.get(2..3), time.get(5..6), time.get(10..11)),
            (19, Some("/"), Some("/"), Some(" "))
        );
    }
}
