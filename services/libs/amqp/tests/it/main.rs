//! What the crate says of itself, judged from outside.
//!
//! Where the rules that fragile clients force on the server (amqp §0) are tested: transcripts by the names of their files,
//! and in `tests/it`, where a driver keeps them or a whole hub shows them. The scripts there (`amqp_csharp`, `amqp_java`,
//! `amqp_c`, `amqp_rules`, `amqp_drain`) look at R1 and R2 in every frame.
//!
//! | rule | here | with a hub |
//! |---|---|---|
//! | R1, R2 | `vectors`, `properties::performatives_survive_with_every_field_written` | every script |
//! | R3 | `vectors::sasl`, `differential::sasl_frames` | `amqp_java`, `amqp_c` |
//! | R4 | `node_device`, `c_sdk_mssbcbs`, the referee of `chaos` | `amqp_java` (also that the other frames say nothing) |
//! | R5 | `links::delivery_ids_are_one_row_for_all_links_of_a_session`, the referee of `chaos` | `amqp_c::a_twin_in_the_only_session` |
//! | R6 | the driver chooses the tags; 16 bytes are a [`amqp::DeliveryTag`] | `amqp_csharp` (order of a GUID's bytes), `amqp_devices`, `amqp_service`, `event_hubs` |
//! | R7 | `node_device`, `c_sdk_mssbcbs` | `amqp_csharp`, `amqp_c::a_batch_is_settled_as_one` |
//! | R8 | `node_device`, `c_sdk_mssbcbs` | every script |
//! | R9 | `echo`, `early_flows`, the referee of `chaos` | every script |
//! | R10 | `properties::messages_survive`, `node_device`, `c_sdk_mssbcbs`, `python_pyamqp_event_hubs` | `amqp::tokens_are_put_and_answered_in_the_callers_own_types`, `amqp_java` (uuid), `amqp_c` (ulong) |
//! | R11 | the driver chooses the types; `values` and `vectors` check that they stay | `amqp_devices`, `amqp_c::a_twin_in_the_only_session`, the client of every `amqp` test (status-code), `event_hubs/event.rs` |
//! | R12 | `node_device`, `early_flows` (asked for before the answer) | every script |
//! | R13 | `node_device`, `credit_is_renewed` | every script, `amqp_telemetry::every_delivery_is_settled_also_when_thousands_are_sent` |
//! | R14 | `node_device`, `c_sdk_mssbcbs` | `amqp_c`, `amqp_java` |
//! | R15 | the driver settles; `csharp_pipelined` and `node_device` show which | `amqp_telemetry::every_delivery_is_settled_also_when_thousands_are_sent`, `amqp_java`, `amqp_c` |
//! | R16 | `python_uamqp_service`, the referee of `chaos` | every script |
//! | R17 | `links::a_sender_says_nothing_of_its_deliveries_before_it_is_asked`, `csharp_cloud_to_device` | `amqp_java::a_large_message_comes_in_frames_of_its_size`, `amqp_csharp` (a settled put-token) |
//! | R18 | `csharp_cloud_to_device` | `amqp_csharp::messages_are_settled_by_both_sides`, `amqp_csharp::a_lock_that_is_lost_is_said_to_be` |
//! | R19 | `refused_link`, `redirected_link`, `vectors::attach_and_refusal` | `amqp_rules::a_refusal_is_an_attach_to_nothing_and_a_detach` |
//! | R20 | `credit_is_renewed`, `javascript_event_hubs` (before the answer to the attach), `limits` (the bound) | `amqp_csharp` |
//! | R21 | `echo`, `early_flows`, `python_pyamqp_event_hubs` | `amqp_rules::sessions_begin_at_any_channel_and_late_words_are_no_fault` |
//! | R22 | `csharp_pipelined`, `early_flows` | `amqp_csharp`, `amqp_drain` |
//! | R23 | `flow_control::windows_are_renewed_at_half`, `session_window`, `properties::deliveries_flow` | `amqp_telemetry` (3000 sends) |
//! | R24 | `python_pyamqp_event_hubs`, `late_frames` | `amqp_rules::sessions_begin_at_any_channel_and_late_words_are_no_fault` |
//! | R25 | `csharp_two_devices` | `amqp_csharp::pooled_devices_share_a_connection_and_the_names_of_their_links`, `amqp_c::a_back_end_by_sasl_plain` |
//! | R26 | `c_sdk_mssbcbs` | `amqp_c` |
//! | R27 | `values::a_message_has_its_sections_in_any_order`, `java_small_frames`, `javascript_event_hubs` | `amqp_c::a_batch_is_settled_as_one`, `amqp_csharp` and `amqp_java` (no body) |
//! | R28 | `python_uamqp_service` | `amqp_rules`, `amqp_c::a_back_end_by_sasl_plain` |
//! | R29 | `node_device`, `late_frames`, `refused_link`, `too_large_a_message` | `amqp_csharp`, `amqp_c` |
//! | R30 | `echo`, `early_flows`, `java_small_frames` | `amqp_java::a_large_message_comes_in_frames_of_its_size`, `amqp_drain` |
//! | R31 | `python_pyamqp_event_hubs`, `late_frames` | `amqp_rules::sessions_begin_at_any_channel_and_late_words_are_no_fault` |
//! | R32 | `javascript_event_hubs`, `silent_client`, `idle_time_out_too_short` | `amqp_rules::a_client_hears_something_before_its_idle_time_out` |
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
mod flow_control;
mod limits;
mod links;
mod properties;
mod transcripts;
mod values;
mod vectors;
