//! The event log's own counters, in Prometheus' words.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use eventlog::{
    embedded::{COMMIT_BUCKETS_MICROSECONDS, Statistics},
    kafka,
};
use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Gauge, Histogram, Metric, MetricFamily, MetricType},
};

/// Reads the counters when someone scrapes.
pub enum EventLogMetrics {
    Embedded(Arc<Statistics>),
    Kafka(Arc<kafka::Statistics>),
}

impl Collector for EventLogMetrics {
    /// Descriptions serve to find duplicates at registration; these names are made here only.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self {
            Self::Embedded(statistics) => embedded(statistics),
            Self::Kafka(statistics) => in_kafka(statistics),
        }
    }
}

fn embedded(statistics: &Statistics) -> Vec<MetricFamily> {
    vec![
        counter("records_total", "Records made durable.", &statistics.records),
        counter("bytes_total", "Bytes of journal made durable.", &statistics.bytes),
        counter("failed_commits_total", "Commits that failed.", &statistics.failed_commits),
        counter("removed_segments_total", "Segments removed by retention.", &statistics.removed_segments),
        gauge("queue_bytes", "Bytes that wait to become durable.", &statistics.queue_bytes),
        gauge("segments", "Segments on disk.", &statistics.segments),
        gauge("segment_bytes", "Bytes of all segments on disk.", &statistics.segment_bytes),
        gauge("disk_free_bytes", "Free space when last looked at.", &statistics.disk_free_bytes),
        commit_seconds(statistics),
    ]
}

fn in_kafka(statistics: &kafka::Statistics) -> Vec<MetricFamily> {
    vec![
        counter("records_total", "Records made durable.", &statistics.records),
        counter("failed_records_total", "Records that Kafka did not acknowledge.", &statistics.failed_records),
        gauge("queue_bytes", "Bytes that wait to become durable.", &statistics.queue_bytes),
    ]
}

fn commit_seconds(statistics: &Statistics) -> MetricFamily {
    let mut cumulative = 0;
    let mut buckets = Vec::new();
    for (bound, count) in COMMIT_BUCKETS_MICROSECONDS.iter().zip(&statistics.commit_buckets) {
        cumulative += count.load(Relaxed);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(*bound));
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let beyond = statistics.commit_buckets.last().map_or(0, |count| count.load(Relaxed));
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(cumulative + beyond);
    histogram.set_sample_sum(seconds(statistics.commit_microseconds.load(Relaxed)));
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family("commit_seconds", "Time of a commit: one write, one fdatasync.", MetricType::HISTOGRAM, metric)
}

fn counter(name: &str, help: &str, value: &AtomicU64) -> MetricFamily {
    let mut counter = Counter::default();
    counter.set_value(value.load(Relaxed) as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    family(name, help, MetricType::COUNTER, metric)
}

fn gauge(name: &str, help: &str, value: &AtomicU64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value.load(Relaxed) as f64);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, metric)
}

fn family(name: &str, help: &str, kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("ironhub_event_log_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_the_histogram_are_rendered() -> Result<(), Box<dyn std::error::Error>> {
        let statistics = Arc::<Statistics>::default();
        statistics.records.store(7, Relaxed);
        for bucket in &statistics.commit_buckets {
            bucket.store(1, Relaxed);
        }
        let metrics = runtime::Metrics::new()?;
        metrics.registry().register(Box::new(EventLogMetrics::Embedded(statistics)))?;
        let text = String::from_utf8(metrics.render()?)?;
        assert!(text.contains("\nironhub_event_log_records_total 7\n"), "{text}");
        assert!(text.contains("ironhub_event_log_commit_seconds_bucket{le=\"0.00025\"} 1\n"), "{text}");
        assert!(text.contains("ironhub_event_log_commit_seconds_bucket{le=\"+Inf\"} 12\n"), "{text}");
        Ok(())
    }
}
