//! Any text as the address of a link: read or refused without a panic, the same with a host in front, and by both parsers
//! in the same way.
#![no_main]

use gateway::amqp::{address::Address, event_hubs::address::Address as EventHubsAddress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let address = Address::parse(input);
    if let Address::Device { principals, .. } = &address {
        assert!(matches!(principals.len(), 1 | 2), "{input:?}");
    }
    let recipients = Address::recipients(input);
    assert!(
        recipients.is_empty() || matches!(&address, Address::Device { principals, .. } if *principals == recipients)
    );
    let event_hubs = EventHubsAddress::parse(input);
    if !input.contains("://") && !input.starts_with("//") {
        let absolute = format!("amqps://hub.example.test:5671/{}", input.strip_prefix('/').unwrap_or(input));
        assert_eq!(Address::parse(&absolute), address, "{input:?}");
        assert_eq!(EventHubsAddress::parse(&absolute), event_hubs, "{input:?}");
    }
    match event_hubs {
        Some(EventHubsAddress::Partition { event_hub, consumer_group, .. }) => {
            assert!(!event_hub.contains('/') && !consumer_group.contains('/'), "{input:?}");
            // What begins so is of a device, whatever an event hub is called.
            assert!(address == Address::EventHubs || event_hub.eq_ignore_ascii_case("devices"), "{input:?}");
        }
        Some(EventHubsAddress::Hub { rest }) => {
            assert!(rest.is_empty() || rest.starts_with('/'));
            assert_eq!(address, Address::EventHubs, "{input:?}");
        }
        Some(EventHubsAddress::Management { .. } | EventHubsAddress::Ingress { .. }) | None => {}
    }
});
