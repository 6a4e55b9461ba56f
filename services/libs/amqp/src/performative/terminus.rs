//! The two ends of a link (AMQP 1.0 §3.5).

use crate::types::{Descriptor, Fields, OwnedValue, Symbol, Symbols, Value, code_of, composite};

composite! {
    /// Where the messages of a link come from (AMQP 1.0 §3.5.3). Described values (filters, outcomes) stay as they came.
    #[derive(Default)]
    pub struct Source: code_of::SOURCE, {
        pub address: Option<String>,
        /// 0 none, 1 configuration, 2 unsettled state.
        pub durable: Option<u32>,
        pub expiry_policy: Option<Symbol>,
        /// Seconds.
        pub timeout: Option<u32>,
        pub dynamic: Option<bool>,
        pub dynamic_node_properties: Option<Fields>,
        pub distribution_mode: Option<Symbol>,
        /// Name of the filter to a described value.
        pub filter: Option<Fields>,
        pub default_outcome: Option<OwnedValue>,
        pub outcomes: Option<Symbols>,
        pub capabilities: Option<Symbols>,
    }

    /// Where the messages of a link go (AMQP 1.0 §3.5.4).
    #[derive(Default)]
    pub struct Target: code_of::TARGET, {
        pub address: Option<String>,
        /// 0 none, 1 configuration, 2 unsettled state.
        pub durable: Option<u32>,
        pub expiry_policy: Option<Symbol>,
        /// Seconds.
        pub timeout: Option<u32>,
        pub dynamic: Option<bool>,
        pub dynamic_node_properties: Option<Fields>,
        pub capabilities: Option<Symbols>,
    }
}

impl Source {
    /// A source that is only an address.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    /// What the filter of this kind says. The descriptor is the kind, by name or by code, and the key is the client's own
    /// (AMQP 1.0 §3.5.8); many take the name of the kind as the key, and describe it somehow or not at all.
    pub fn filter_value(&self, name: &str, code: u64) -> Option<Value<'_>> {
        self.filter.as_ref()?.map().iter().find_map(|(key, value)| {
            let is_named = key.as_text() == Some(name);
            match value {
                Value::Described(described) => {
                    let is_of_kind = [Descriptor::Name(name), Descriptor::Code(code)].contains(&described.descriptor);
                    (is_named || is_of_kind).then(|| described.value())
                }
                bare => is_named.then_some(bare),
            }
        })
    }
}

impl Target {
    /// A target that is only an address.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }
}
