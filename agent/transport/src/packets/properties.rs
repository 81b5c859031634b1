//! The properties of an MQTT 5 PUBLISH: in any order, repeated if that is allowed.

use super::fields::Fields;
use crate::{
    malformed::{Malformed, Property},
    message::SubscriptionIds,
};
use bytes::Bytes;
use tidemill_base::sabotage::{self, Sabotage};

/// The properties of a message that the agent uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) subscriptions: SubscriptionIds,
    /// User properties, in their order.
    pub(super) properties: Vec<(String, String)>,
    /// The topic for an answer, and the data that it has to bear.
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Bytes>,
    /// Bytes at the end that were not looked at: none.
    pub(super) unread: usize,
}

/// Reads all properties of a PUBLISH.
pub(super) fn of_publish(section: &[u8]) -> Result<Given, Malformed> {
    let mut fields = Fields::new(section);
    let mut given = Given::default();
    let mut identifiers = Identifiers::default();
    let mut once = Once::default();
    while let Some(number) = fields.byte() {
        if sabotage::is(Sabotage::IdentifiersMiscounted)
            && fields.rest().len() < identifiers.count()
        {
            given.unread = fields.rest().len() + 1;
            break;
        }
        let property = known(number).ok_or(Malformed::Unknown(number))?;
        let cut = Malformed::Cut(property);
        match property {
            Property::PayloadFormat => {
                once.first(property)?;
                if fields.byte().ok_or(cut)? > 1 {
                    return Err(Malformed::Value(property));
                }
            }
            Property::Expiry => {
                once.first(property)?;
                fields.four_bytes().ok_or(cut)?;
            }
            Property::ContentType => {
                once.first(property)?;
                text(&mut fields, property)?;
            }
            Property::ResponseTopic => {
                once.first(property)?;
                let topic = text(&mut fields, property)?;
                if topic.contains(['+', '#']) {
                    return Err(Malformed::Value(property));
                }
                given.response_topic = Some(topic.to_owned());
            }
            Property::CorrelationData => {
                once.first(property)?;
                let data = fields.bytes().ok_or(cut)?;
                given.correlation = Some(Bytes::copy_from_slice(data));
            }
            Property::SubscriptionIdentifier => {
                let number = fields.length().ok_or(cut)?;
                identifiers.add(number)?;
            }
            Property::TopicAlias => return Err(Malformed::TopicAlias),
            Property::User => {
                let name = text(&mut fields, property)?.to_owned();
                let value = text(&mut fields, property)?.to_owned();
                given.properties.push((name, value));
            }
        }
    }
    given.subscriptions = identifiers.into();
    Ok(given)
}

fn known(number: u8) -> Option<Property> {
    use Property::{
        ContentType, CorrelationData, Expiry, PayloadFormat, ResponseTopic, SubscriptionIdentifier,
        TopicAlias, User,
    };
    let all = [
        SubscriptionIdentifier,
        User,
        PayloadFormat,
        Expiry,
        ContentType,
        ResponseTopic,
        CorrelationData,
        TopicAlias,
    ];
    all.into_iter().find(|property| *property as u8 == number)
}

fn text<'a>(fields: &mut Fields<'a>, property: Property) -> Result<&'a str, Malformed> {
    let bytes = fields.bytes().ok_or(Malformed::Cut(property))?;
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(property))?;
    if bytes.contains(&0) {
        return Err(Malformed::Nul(property));
    }
    Ok(text)
}

/// Set of the properties seen so far, of those allowed only once.
#[derive(Default)]
struct Once {
    seen: u64,
}

impl Once {
    fn first(&mut self, property: Property) -> Result<(), Malformed> {
        let bit = 1 << property as u8;
        if self.seen & bit != 0 {
            return Err(Malformed::Repeated(property));
        }
        self.seen |= bit;
        Ok(())
    }
}

/// Subscription identifiers as they come: one of them, as nearly all copies have, takes no memory.
#[derive(Default)]
struct Identifiers {
    first: Option<u32>,
    /// All, once there are two.
    all: Vec<u32>,
}

impl Identifiers {
    fn add(&mut self, number: usize) -> Result<(), Malformed> {
        let id = u32::try_from(number).unwrap_or_default();
        if id == 0 {
            return Err(Malformed::Value(Property::SubscriptionIdentifier));
        }
        match self.first {
            None => self.first = Some(id),
            Some(first) => {
                if self.all.is_empty() {
                    self.all.push(first);
                }
                self.all.push(id);
            }
        }
        Ok(())
    }
}

impl Identifiers {
    fn count(&self) -> usize {
        self.all.len().max(usize::from(self.first.is_some()))
    }
}

impl From<Identifiers> for SubscriptionIds {
    fn from(identifiers: Identifiers) -> Self {
        match identifiers.first {
            None => Self::Unknown,
            Some(one) if identifiers.all.is_empty() => Self::One(one),
            Some(_) => Self::Many(identifiers.all.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Malformed::{Cut, NotUtf8, Nul, Repeated, TopicAlias, Unknown, Value};

    #[track_caller]
    fn refused(section: &[u8], why: Malformed) {
        assert_eq!(of_publish(section), Err(why), "{section:02x?}");
    }

    #[test]
    fn any_number_of_subscription_identifiers_is_read_wherever_they_stand() {
        let many = |ids: &[u32]| SubscriptionIds::Many(ids.into());
        let cases: [(&[u8], SubscriptionIds); 5] = [
            (&[], SubscriptionIds::Unknown),
            (&[11, 7], SubscriptionIds::One(7)),
            (&[1, 1, 11, 7, 11, 8], many(&[7, 8])),
            (
                &[11, 1, 2, 0, 0, 0, 9, 11, 0x80, 1, 11, 3, 11, 4, 11, 5, 1, 0],
                many(&[1, 128, 3, 4, 5]),
            ),
            (
                &[11, 0xff, 0xff, 0xff, 0x7f],
                SubscriptionIds::One(268_435_455),
            ),
        ];
        for (section, expected) in cases {
            assert_eq!(of_publish(section).unwrap().subscriptions, expected);
        }
    }

    #[test]
    fn every_property_may_stand_in_any_order() {
        let pieces: [&[u8]; 8] = [
            &[1, 1],
            &[2, 0, 0, 0, 3],
            &[3, 0, 1, b't'],
            &[8, 0, 3, b'a', b'/', b'b'],
            &[9, 0, 2, 0xff, 0],
            &[11, 9],
            &[38, 0, 1, b'n', 0, 1, b'v'],
            &[38, 0, 1, b'n', 0, 0],
        ];
        for turn in 0..pieces.len() {
            let mut pieces = pieces;
            pieces.rotate_left(turn);
            let given = of_publish(&pieces.concat()).unwrap();
            assert_eq!(given.subscriptions, SubscriptionIds::One(9));
            assert_eq!(given.properties.len(), 2);
        }
    }

    #[test]
    fn texts_have_to_be_texts() {
        use Property::{ContentType, ResponseTopic, User};
        refused(&[3, 0, 1, 0xff], NotUtf8(ContentType));
        refused(&[8, 0, 1, 0xff], NotUtf8(ResponseTopic));
        refused(&[38, 0, 1, 0xff, 0, 0], NotUtf8(User));
        refused(&[38, 0, 0, 0, 2, 0xc3, 0x28], NotUtf8(User));
        // A surrogate.
        refused(&[3, 0, 3, 0xed, 0xa0, 0x80], NotUtf8(ContentType));
        refused(&[38, 0, 1, 0, 0, 0], Nul(User));
        refused(&[8, 0, 3, b'a', b'/', b'#'], Value(ResponseTopic));
    }

    #[test]
    fn what_the_standard_does_not_allow_is_named() {
        use Property::{
            ContentType, CorrelationData, Expiry, PayloadFormat, ResponseTopic,
            SubscriptionIdentifier, User,
        };
        refused(&[1, 2], Value(PayloadFormat));
        refused(&[1, 0, 1, 0], Repeated(PayloadFormat));
        refused(&[2, 0, 0, 0, 1, 2, 0, 0, 0, 1], Repeated(Expiry));
        refused(&[3, 0, 0, 3, 0, 0], Repeated(ContentType));
        refused(&[8, 0, 0, 8, 0, 0], Repeated(ResponseTopic));
        refused(&[9, 0, 0, 9, 0, 0], Repeated(CorrelationData));
        refused(&[11, 0], Value(SubscriptionIdentifier));
        refused(&[35, 0, 1], TopicAlias);
        // The expiry of a session.
        refused(&[17, 0, 0, 0, 1], Unknown(17));
        refused(&[0xff], Unknown(0xff));
        refused(&[1], Cut(PayloadFormat));
        refused(&[2, 0, 0], Cut(Expiry));
        refused(&[9, 0, 5, 1], Cut(CorrelationData));
        refused(
            &[11, 0x80, 0x80, 0x80, 0x80, 1],
            Cut(SubscriptionIdentifier),
        );
        refused(&[38, 0, 1, b'n', 0], Cut(User));
        refused(&[38, 0, 1, b'n'], Cut(User));
    }
}
