//! What the crate says of itself, judged from outside.
//!
//! Where the rules that fragile clients force on the server (amqp §0) are tested; transcripts are named by their files.
//!
//! | rule | test |
//! |---|---|
//! | R1, R2 | `vectors`, `properties::performatives_survive_with_every_field_written` |
//! | R3 | `vectors::sasl`, `differential::sasl_frames` |
//! | R4, R7, R8, R9, R12, R13, R14 | `node_device`, `c_sdk_mssbcbs`; R13 also `credit_is_renewed`; R9 also `echo` |
//! | R5 | `connection::delivery_ids_are_one_row_for_all_links_of_a_session` |
//! | R6 | the driver chooses the tags; 16 bytes are a [`amqp::DeliveryTag`] |
//! | R10 | `properties::messages_survive`, `node_device`, `c_sdk_mssbcbs`, `python_pyamqp_event_hubs` |
//! | R11 | the driver chooses the types; `values` and `vectors` check that they stay |
//! | R15 | the driver settles; `csharp_pipelined` and `node_device` show which |
//! | R16, R28 | `python_uamqp_service` |
//! | R17, R18 | `csharp_cloud_to_device` |
//! | R19 | `refused_link`, `redirected_link`, `vectors::attach_and_refusal` |
//! | R20 | `credit_is_renewed`, `javascript_event_hubs` (before the answer to the attach), `connection` (the bound) |
//! | R21 | `echo`, `python_pyamqp_event_hubs` |
//! | R22 | `csharp_pipelined` |
//! | R23 | `connection::windows_are_renewed_at_half`, `session_window`, `properties::deliveries_flow` |
//! | R24 | `python_pyamqp_event_hubs`, `late_frames` |
//! | R25 | `csharp_two_devices` |
//! | R26 | `c_sdk_mssbcbs` |
//! | R27 | `values::a_message_has_its_sections_in_any_order`, `java_small_frames`, `javascript_event_hubs` |
//! | R29 | `node_device`, `late_frames`, `refused_link`, `too_large_a_message` |
//! | R30 | `echo`, `java_small_frames` |
//! | R31 | `python_pyamqp_event_hubs`, `late_frames` |
//! | R32 | `javascript_event_hubs`, `silent_client`, `idle_time_out_too_short` |
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

/// Any values and frames, for properties.
mod generate;
/// A text form of values, for transcripts.
mod notation;
/// A client and a server that talk through memory.
mod pair;
/// Who watches that they keep the rules.
mod referee;

mod chaos;
mod connection;
mod differential;
mod properties;
mod transcripts;
mod values;
mod vectors;
