//! The process's metrics in Prometheus' text format.

use prometheus::{Encoder, Registry, TextEncoder};

/// One registry per process. Cheap to clone; all clones are one. No metric may carry a label per device.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A registry that already counts the process's own CPU time, memory, threads and file descriptors.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { registry })
    }

    /// Where services register what they count.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything registered, in the text format that Prometheus scrapes.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_process_and_what_was_registered() -> Result<(), Box<dyn std::error::Error>> {
        let metrics = Metrics::new()?;
        let counter = prometheus::IntCounter::new("messages_total", "Messages.")?;
        metrics.registry().register(Box::new(counter.clone()))?;
        counter.inc_by(3);
        let text = String::from_utf8(metrics.render()?)?;
        assert!(text.contains("\nmessages_total 3\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        Ok(())
    }
}
