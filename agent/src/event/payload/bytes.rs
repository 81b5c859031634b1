//! Bytes that mean nothing to the agent.

use tidemill_values::Value;

/// The bytes as they came.
pub(super) fn value(payload: &[u8]) -> Value {
    Value::bytes(payload)
}
