//! The firmware bridge brings microcontrollers on serial lines to MQTT: plain lines, acknowledged lines and
//! frames become events with an identity of their own, commands and time go down. It is a process of its own
//! and meets the agent over MQTT only. Here stand the parts that are functions of bytes and time; ports,
//! the connection to the broker and the program itself are not built yet.

#![forbid(unsafe_code)]

pub mod layer1;
