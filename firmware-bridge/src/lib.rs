//! The firmware bridge will make microcontrollers on serial lines citizens of MQTT: telemetry up as
//! QoS 1 events with an identity of the device's own, commands and time down, firmware updates that
//! cannot brick a board. It is a process of its own and meets the agent over MQTT only. Nothing of
//! it is built yet.

#![forbid(unsafe_code)]
