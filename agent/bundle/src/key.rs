//! Keys: ed25519, verified strictly.

use std::fmt;

use ed25519_dalek::{Signer as _, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::encoding::{from_base64, from_hex, sha256, to_base64};

/// Bytes of the secret from which a key is made.
pub const SEED_BYTES: usize = 32;

/// Bytes of a key's id: the first half of the public key's SHA-256.
const ID_BYTES: usize = 16;

/// Why a text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("it is not the base64 of 32 bytes")]
    Length,
    /// No point, or one that anybody can sign for.
    #[error("these 32 bytes are no public key that can be trusted")]
    Weak,
}

/// The id of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

impl KeyId {
    /// Reads 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a key's id has 32 digits 0-9 and a-f"))
    }
}

/// A key that signatures are verified with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes the 32 bytes of a public key.
    ///
    /// # Errors
    /// When they are no point of the curve in its one encoding, or a point of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::Length)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Weak)?;
        // An encoding that is not reduced stands for the same point as another one.
        let is_canonical = key.to_edwards().compress().as_bytes() == bytes;
        if key.is_weak() || !is_canonical {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// Reads base64.
    ///
    /// # Errors
    /// As for [`PublicKey::from_bytes`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&from_base64(text).ok_or(KeyError::Length)?)
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        let hash = sha256(self.0.as_bytes()).0;
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        KeyId(id)
    }

    /// `true` if the signature of the message is one of this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(|error| de::Error::custom(format!("key: {error}")))
    }
}

/// A key that signs. It is wiped from memory when it is dropped, and shown by nothing.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a secret, which has to come from the system's random numbers.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Its other half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_id_and_shown_without_its_secret() {
        let key = SigningKey::from_seed(&[7; SEED_BYTES]);
        let public = key.public();
        assert_eq!(PublicKey::parse(&public.to_string()), Ok(public));
        assert_eq!(KeyId::parse(&public.id().to_string()), Some(public.id()));
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", public.id()));
        let signature = key.sign(b"message");
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        assert!(!public.verifies(b"message", &signature[1..]));
    }

    #[test]
    fn points_of_small_order_and_unreduced_encodings_are_no_keys() {
        // From "Taming the many EdDSAs" (speccheck): identity, order 2, 4 and 8, and y = p + 1.
        for hex in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            let bytes: [u8; 32] = from_hex(hex).unwrap();
            assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Weak), "{hex}");
        }
        assert_eq!(PublicKey::from_bytes(&[0; 31]), Err(KeyError::Length));
    }
}
