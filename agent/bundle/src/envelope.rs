//! The envelope: DSSE, <https://github.com/secure-systems-lab/dsse>, as compact JSON in its one form.
//! It is looked into only after a signature holds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::encoding::{Sha256Hex, base64_bytes, sha256};
use crate::json;
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::refusal::{Reason, Refusal, malformed};

/// Bytes of an envelope of a bundle.
pub const ENVELOPE_BYTES_MAX: usize = 512 << 10;

/// Bytes of an envelope of a root.
pub const ROOT_BYTES_MAX: usize = 64 << 10;

/// Signatures of one envelope.
const SIGNATURES_MAX: usize = 8;

/// Kinds of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadType {
    /// A bundle of rules.
    Bundle,
    /// A root of trust.
    Root,
    /// A gateway's word on one bundle.
    Reported,
    /// A gateway's word on itself.
    Status,
}

impl PayloadType {
    const ALL: [Self; 4] = [Self::Bundle, Self::Root, Self::Reported, Self::Status];

    /// The media type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "application/vnd.tidemill.bundle.v1+json",
            Self::Root => "application/vnd.tidemill.root.v1+json",
            Self::Reported => "application/vnd.tidemill.reported.v1+json",
            Self::Status => "application/vnd.tidemill.status.v1+json",
        }
    }

    /// The largest envelope of this kind, in bytes.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Bundle => ENVELOPE_BYTES_MAX,
            Self::Root => ROOT_BYTES_MAX,
            Self::Reported | Self::Status => 16 << 10,
        }
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PayloadType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PayloadType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| de::Error::custom("payloadType is none of Tidemill's"))
    }
}

/// A signature and the key that is said to have made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The key.
    pub keyid: KeyId,
    /// The signature.
    #[serde(with = "base64_bytes")]
    pub sig: Vec<u8>,
}

/// A signed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The kind of the payload.
    #[serde(rename = "payloadType")]
    pub payload_type: PayloadType,
    /// The document; not to be parsed before a signature holds.
    #[serde(with = "base64_bytes")]
    pub payload: Vec<u8>,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

impl Envelope {
    /// An envelope that nobody has signed yet.
    pub fn new(payload_type: PayloadType, payload: Vec<u8>) -> Self {
        let signatures = Vec::new();
        Self {
            payload_type,
            payload,
            signatures,
        }
    }

    /// Reads an envelope of a kind.
    ///
    /// # Errors
    /// When it is longer than its kind may be, of another kind, or not in the one form that
    /// [`Envelope::encode`] writes.
    pub fn parse(bytes: &[u8], expected: PayloadType) -> Result<Self, Refusal> {
        let envelope = Self::parse_draft(bytes, expected)?;
        if envelope.signatures.is_empty() {
            return Err(malformed("the envelope has no signature"));
        }
        Ok(envelope)
    }

    /// Reads an envelope as [`Envelope::parse`] does, also one that nobody has signed yet.
    ///
    /// # Errors
    /// As for [`Envelope::parse`].
    pub fn parse_draft(bytes: &[u8], expected: PayloadType) -> Result<Self, Refusal> {
        let (length, longest) = (bytes.len(), expected.bytes_max());
        if length > longest {
            let text = format!("the envelope has {length} bytes, at most {longest} are taken");
            return Err(Refusal::new(Reason::TooLarge, text));
        }
        let envelope: Self =
            json::parse(bytes).map_err(|why| malformed(format!("the envelope: {why}")))?;
        if envelope.payload_type != expected {
            let found = envelope.payload_type;
            return Err(malformed(format!(
                "the envelope holds {found}, not {expected}"
            )));
        }
        let count = envelope.signatures.len();
        if count > SIGNATURES_MAX {
            let text =
                format!("the envelope has {count} signatures, at most {SIGNATURES_MAX} are taken");
            return Err(malformed(text));
        }
        // Spaces, other orders and escapes would make many envelopes of one.
        if envelope.encode() != bytes {
            return Err(malformed(
                "the envelope is not compact JSON in the order of its fields",
            ));
        }
        Ok(envelope)
    }

    /// The envelope as bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and lists of texts can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Adds a signature; one that the key has made before is replaced.
    pub fn sign(&mut self, key: &SigningKey) {
        let keyid = key.public().id();
        let sig = key.sign(&self.signed_bytes());
        self.signatures.retain(|signature| signature.keyid != keyid);
        self.signatures.push(Signature { keyid, sig });
    }

    /// `true` if the key has signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let id = key.id();
        let mut named = self
            .signatures
            .iter()
            .filter(|signature| signature.keyid == id);
        let message = self.signed_bytes();
        named.any(|signature| key.verifies(&message, &signature.sig))
    }

    /// SHA-256 of the payload: what the document is known by, whoever else signs it later.
    pub fn sha256(&self) -> Sha256Hex {
        sha256(&self.payload)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(self.payload_type.as_str(), &self.payload)
    }
}

/// The bytes that are signed: kind and payload with their lengths, so that no two pairs share them.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SEED_BYTES;

    fn signed() -> (Envelope, SigningKey) {
        let key = SigningKey::from_seed(&[1; SEED_BYTES]);
        let mut envelope = Envelope::new(PayloadType::Bundle, b"{}".to_vec());
        envelope.sign(&key);
        (envelope, key)
    }

    #[test]
    fn what_is_signed_is_what_the_specification_says() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn bytes_of_an_envelope_are_stable() {
        let (envelope, key) = signed();
        let expected = concat!(
            r#"{"payloadType":"application/vnd.tidemill.bundle.v1+json","payload":"e30=","#,
            r#""signatures":[{"keyid":"34750f98bd59fcfc946da45aaabe933b","#,
            r#""sig":"#
        );
        let text = String::from_utf8(envelope.encode()).unwrap();
        assert!(text.starts_with(expected), "{text}");
        let parsed = Envelope::parse(text.as_bytes(), PayloadType::Bundle).unwrap();
        assert_eq!(parsed, envelope);
        assert!(parsed.is_signed_by(&key.public()));
    }

    #[test]
    fn an_envelope_has_one_form() {
        let (envelope, _) = signed();
        let text = String::from_utf8(envelope.encode()).unwrap();
        let duplicate = text.replacen('{', "{\"payload\":\"e30=\",", 1);
        let unknown = text.replacen('{', "{\"a\":1,", 1);
        let spaced = text.replacen(':', ": ", 1);
        let escaped = text.replacen("payload\"", "paylo\\u0061d\"", 1);
        let array = "[\"application/vnd.tidemill.bundle.v1+json\",\"e30=\",[]]".to_owned();
        let unsigned =
            String::from_utf8(Envelope::new(PayloadType::Bundle, vec![]).encode()).unwrap();
        let deep = "[".repeat(10_000);
        for wrong in [
            duplicate,
            unknown,
            spaced,
            escaped,
            array,
            unsigned,
            deep,
            String::new(),
        ] {
            let refusal = Envelope::parse(wrong.as_bytes(), PayloadType::Bundle).unwrap_err();
            assert_eq!(refusal.reason, Reason::Malformed, "{wrong}");
        }
        let other = Envelope::parse(text.as_bytes(), PayloadType::Root).unwrap_err();
        assert_eq!(other.reason, Reason::Malformed);
        let long = vec![b' '; ENVELOPE_BYTES_MAX + 1];
        let refusal = Envelope::parse(&long, PayloadType::Bundle).unwrap_err();
        assert_eq!(refusal.reason, Reason::TooLarge);
    }
}
