//! A JSON payload to the scalars that rules look at. A plan is made once for all rules that a topic
//! reaches, as the union of the places they name; an event is then read once, without building a
//! document. Making typed inputs of the scalars is [`crate::mill::input`]'s job.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use tidemill_values::{Map, Value};

use crate::event::payload::{self, PayloadError, SELF};
use crate::event::value::{Decoded, Scalar, Span};

/// The places that a set of rules looks at, as a tree of names.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    root: Node,
    places: u16,
    /// Places of names in any case, which count if nothing is under the exact name.
    any_case: Vec<AnyCase>,
    /// The place of the whole payload, and the places that get it if it is no object.
    bare: Option<(u16, Vec<u16>)>,
}

/// A place that substitutes another one.
#[derive(Debug, Clone)]
struct AnyCase {
    exact: u16,
    other: u16,
    /// Places of the exact names on the way: if one has a value, the other name does not count.
    missing: Vec<u16>,
}

/// Names that lead to a place in whatever case. Each of them doubles the ways that have to be looked at.
const ANY_CASE_NAMES_MAX: usize = 4;

#[derive(Debug, Clone, Default)]
struct Node {
    place: Option<u16>,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<str>,
    /// The same segment as an array's index.
    index: Option<usize>,
    /// `true` if the name matches in any case.
    any_case: bool,
    node: Node,
}

impl Plan {
    /// Adds a JSON pointer (RFC 6901, already checked) and returns its place; the same pointer has
    /// the same place.
    pub fn add(&mut self, pointer: &str) -> u16 {
        let mut node = &mut self.root;
        for segment in pointer.split('/').skip(1) {
            node = node.child(&segment.replace("~1", "/").replace("~0", "~"), false);
        }
        let place = node.place(&mut self.places);
        self.add_bare(pointer, place);
        place
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let others = self.any_case.iter();
        let others = others.map(|other| size_of::<AnyCase>() + size_of_val(&*other.missing));
        self.root.bytes() + others.sum::<usize>()
    }

    /// Registers a place for [`SELF`], which gets the payload if that is no object.
    fn add_bare(&mut self, pointer: &str, place: u16) {
        let name = pointer.strip_prefix('/');
        if !name.is_some_and(|name| name.eq_ignore_ascii_case(SELF)) {
            return;
        }
        let whole = self.root.place(&mut self.places);
        let (_, places) = self.bare.get_or_insert_with(|| (whole, Vec::new()));
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Adds a place of which each name may be written in whatever case; one that is written just so comes
    /// first.
    pub fn add_in_any_case(&mut self, pointer: &str) -> u16 {
        let exact = self.add(pointer);
        let names = pointer.split('/').skip(1);
        let names: Vec<String> = names
            .map(|name| name.replace("~1", "/").replace("~0", "~"))
            .collect();
        let is_known = self.any_case.iter().any(|known| known.exact == exact);
        if is_known || names.len() > ANY_CASE_NAMES_MAX {
            return exact;
        }
        // Each bit says of a name whether another case of it is meant.
        for others in 1..1_u32 << names.len() {
            let (mut node, mut missing) = (&mut self.root, Vec::new());
            for (number, name) in names.iter().enumerate() {
                let is_other = others & (1 << number) != 0;
                if is_other {
                    let places = &mut self.places;
                    missing.push(node.child(name, false).place(places));
                }
                node = node.child(name, is_other);
            }
            let other = node.place(&mut self.places);
            self.any_case.push(AnyCase {
                exact,
                other,
                missing,
            });
        }
        exact
    }

    /// `true` if no rule reads anything of the payload.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// Reads `payload` into `decoded`, whose memory is reused. If a name occurs twice in an object,
    /// the last one counts.
    ///
    /// # Errors
    /// When the payload is not JSON in UTF-8; the content of `decoded` is then meaningless.
    pub fn decode(&self, payload: &[u8], decoded: &mut Decoded) -> Result<(), PayloadError> {
        self.begin(decoded);
        let text = payload::read_text(payload)?;
        let mut json = serde_json::Deserializer::from_str(text);
        Place {
            node: &self.root,
            decoded,
        }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|e| PayloadError::NotJson(e.to_string()))?;
        self.end(decoded, is_object(payload));
        Ok(())
    }

    /// Looks at a value instead, which some other decoder made.
    pub fn read(&self, value: &Value, decoded: &mut Decoded) {
        self.begin(decoded);
        self.root.read(value, decoded);
        self.end(decoded, value.as_map().is_some());
    }

    fn begin(&self, decoded: &mut Decoded) {
        decoded.scalars.clear();
        decoded
            .scalars
            .resize(usize::from(self.places), Scalar::Missing);
        decoded.text.clear();
    }

    /// Fills the places that substitute others.
    fn end(&self, decoded: &mut Decoded, is_object: bool) {
        let at = |decoded: &Decoded, place: u16| decoded.scalars.get(usize::from(place)).copied();
        for AnyCase {
            exact,
            other,
            missing,
        } in &self.any_case
        {
            let is_missing = |place: &u16| at(decoded, *place) == Some(Scalar::Missing);
            if is_missing(exact)
                && missing.iter().all(is_missing)
                && let Some(found) = at(decoded, *other)
                && let Some(exact) = decoded.scalars.get_mut(usize::from(*exact))
            {
                *exact = found;
            }
        }
        if let (Some((whole, places)), false) = (&self.bare, is_object) {
            let whole = decoded.scalars.get(usize::from(*whole)).copied();
            for place in places {
                let slot = decoded.scalars.get_mut(usize::from(*place));
                if let (Some(slot), Some(whole)) = (slot, whole) {
                    *slot = whole;
                }
            }
        }
    }
}

/// `true` if a payload known to be JSON is an object.
#[inline]
pub fn is_object(payload: &[u8]) -> bool {
    first_byte(payload) == Some(b'{')
}

/// Why a payload that is no object is no row, in words.
pub fn not_an_object(payload: &[u8]) -> String {
    let found = match first_byte(payload) {
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        _ => "a number",
    };
    let rows = match found {
        "a list" => ", or write list = \"rows\" under [streams.NAME]",
        _ => "",
    };
    format!("payload is {found}, not an object; a statement calls it {SELF}{rows}")
}

fn first_byte(payload: &[u8]) -> Option<u8> {
    let bare = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
    let mut bytes = bare.iter().copied();
    bytes.find(|byte| !byte.is_ascii_whitespace())
}

impl Node {
    /// Bytes of the nodes below.
    fn bytes(&self) -> usize {
        let each = |child: &Child| size_of::<Child>() + child.name.len() + child.node.bytes();
        self.children.iter().map(each).sum()
    }

    /// Marks places inside of the value at hand as missing.
    fn forget_inside(&self, decoded: &mut Decoded) {
        for child in &self.children {
            let place = child.node.place.map(usize::from);
            if let Some(slot) = place.and_then(|place| decoded.scalars.get_mut(place)) {
                *slot = Scalar::Missing;
            }
            child.node.forget_inside(decoded);
        }
    }

    fn child(&mut self, name: &str, any_case: bool) -> &mut Node {
        let at = match self
            .children
            .iter()
            .position(|child| child.any_case == any_case && &*child.name == name)
        {
            Some(at) => at,
            None => {
                self.children.push(Child {
                    name: name.into(),
                    index: array_index(name).filter(|_| !any_case),
                    any_case,
                    node: Node::default(),
                });
                self.children.len() - 1
            }
        };
        &mut self
            .children
            .get_mut(at)
            .expect("the position was just found or made")
            .node
    }

    /// The place of this node, a new one if it has none.
    fn place(&mut self, places: &mut u16) -> u16 {
        *self.place.get_or_insert_with(|| {
            *places += 1;
            *places - 1
        })
    }
}

impl Node {
    /// Puts what a value holds into the places of this node and those below.
    fn read(&self, value: &Value, decoded: &mut Decoded) {
        let scalar = match value {
            Value::Null => Scalar::Null,
            Value::Bool(yes) => Scalar::Bool(*yes),
            Value::Int(number) | Value::Datetime(number) => Scalar::Int(*number),
            Value::Wide(number) => Scalar::Wide(*number),
            Value::Float(number) => Scalar::Float(*number),
            Value::Text(text) => put_bytes(text.as_bytes(), decoded),
            Value::Bytes(bytes) => put_bytes(bytes, decoded),
            Value::List(_) | Value::Map(_) => Scalar::Other,
        };
        let slot = self.place.map(usize::from);
        if let Some(slot) = slot.and_then(|place| decoded.scalars.get_mut(place)) {
            *slot = scalar;
        }
        for child in &self.children {
            let inner = match value {
                Value::Map(map) if child.any_case => in_another_case(map, &child.name),
                Value::Map(map) => map.get(&child.name),
                Value::List(list) => child.index.and_then(|index| list.get(index)),
                _ => None,
            };
            if let Some(inner) = inner {
                child.node.read(inner, decoded);
            }
        }
    }
}

/// The last value whose name differs in case only.
fn in_another_case<'a>(map: &'a Map, name: &str) -> Option<&'a Value> {
    let is_other = |other: &str| other.eq_ignore_ascii_case(name) && other != name;
    let last = map.iter().rfind(|(other, _)| is_other(other));
    last.map(|(_, value)| value)
}

/// Puts bytes into the arena. What is longer than its places can tell does not come in a message.
fn put_bytes(bytes: &[u8], decoded: &mut Decoded) -> Scalar {
    let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (start, len) = (at(decoded.text.len()), at(bytes.len()));
    decoded.text.extend_from_slice(bytes);
    Scalar::Text(Span { start, len })
}

fn array_index(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || !segment.starts_with(['0', '+']);
    canonical.then(|| segment.parse().ok()).flatten()
}

/// Reads the value at `node`.
struct Place<'a> {
    node: &'a Node,
    decoded: &'a mut Decoded,
}

impl Place<'_> {
    #[inline]
    fn put(self, scalar: Scalar) {
        if let Some(place) = self.node.place
            && let Some(slot) = self.decoded.scalars.get_mut(usize::from(place))
        {
            *slot = scalar;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Scalar::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Scalar::Int(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Scalar::Wide(value), Scalar::Int));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Scalar::Float(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Scalar::Null);
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let span = |n: usize| u32::try_from(n).map_err(|_| E::custom("string longer than 4 GiB"));
        let (start, len) = (span(self.decoded.text.len())?, span(value.len())?);
        self.decoded.text.extend_from_slice(value.as_bytes());
        self.put(Scalar::Text(Span { start, len }));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Name(self.node))? {
            match child {
                Some(node) => {
                    // If the name has come before, nothing of what lay in it counts any more.
                    node.forget_inside(self.decoded);
                    map.next_value_seed(Place {
                        node,
                        decoded: self.decoded,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        self.put(Scalar::Other);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let child = self
                .node
                .children
                .iter()
                .find(|child| child.index == Some(index));
            let more = match child {
                Some(child) => seq
                    .next_element_seed(Place {
                        node: &child.node,
                        decoded: self.decoded,
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        self.put(Scalar::Other);
        Ok(())
    }
}

/// Reads a field's name and finds the node that wants it.
struct Name<'a>(&'a Node);

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let children = &self.0.children;
        let exact = children
            .iter()
            .find(|child| !child.any_case && &*child.name == name);
        let found = exact.or_else(|| {
            let mut others = children.iter().filter(|child| child.any_case);
            others.find(|child| child.name.eq_ignore_ascii_case(name))
        });
        Ok(found.map(|child| &child.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_another_case_stands_in_for_one_that_is_missing() {
        let mut plan = Plan::default();
        let place = usize::from(plan.add_in_any_case("/temp"));
        let mut decoded = Decoded::default();
        for (payload, expected) in [
            (r#"{"temp": 1, "Temp": 2}"#, Scalar::Int(1)),
            (r#"{"TEMP": 2, "temp": 1}"#, Scalar::Int(1)),
            (r#"{"Temp": 2}"#, Scalar::Int(2)),
            (r#"{"Temp": 2, "temp": null}"#, Scalar::Null),
            (r#"{"x": {"temp": 2}}"#, Scalar::Missing),
            (r#"{"Temp": 1, "TEMP": 2}"#, Scalar::Int(2)),
            (r#"{"TEMP": 1, "Temp": 2, "TEMP": 3}"#, Scalar::Int(3)),
        ] {
            plan.decode(payload.as_bytes(), &mut decoded).unwrap();
            assert_eq!(decoded.scalars[place], expected, "{payload}");
        }
    }

    #[test]
    fn names_inside_of_objects_may_be_written_in_another_case_too() {
        let mut plan = Plan::default();
        let place = usize::from(plan.add_in_any_case("/energy/total"));
        let mut decoded = Decoded::default();
        for (payload, expected) in [
            (r#"{"energy": {"total": 1, "Total": 2}}"#, Scalar::Int(1)),
            (r#"{"energy": {"Total": 2}}"#, Scalar::Int(2)),
            (r#"{"ENERGY": {"total": 3}}"#, Scalar::Int(3)),
            (r#"{"ENERGY": {"Total": 4}}"#, Scalar::Int(4)),
            (r#"{"ENERGY": {"Total": 4, "total": 5}}"#, Scalar::Int(5)),
            (r#"{"ENERGY": {"total": 3}, "energy": {}}"#, Scalar::Missing),
            (r#"{"ENERGY": {"total": 3}, "energy": 7}"#, Scalar::Missing),
            (r#"{"ENERGY": {"total": 3}, "Energy": {}}"#, Scalar::Missing),
            (r#"{"energy": {"total": null, "TOTAL": 1}}"#, Scalar::Null),
        ] {
            plan.decode(payload.as_bytes(), &mut decoded).unwrap();
            assert_eq!(decoded.scalars[place], expected, "{payload}");
            let value = tidemill_values::from_json(payload.as_bytes()).unwrap();
            plan.read(&value, &mut decoded);
            assert_eq!(decoded.scalars[place], expected, "{payload} as a value");
        }
    }

    #[track_caller]
    fn check(pointers: &[&str], payload: &str, expected: &[Scalar]) {
        let mut plan = Plan::default();
        let places: Vec<_> = pointers.iter().map(|p| plan.add(p)).collect();
        let mut decoded = Decoded::default();
        plan.decode(payload.as_bytes(), &mut decoded).unwrap();
        let found = |decoded: &Decoded| -> Vec<_> {
            let scalar = |place: &u16| decoded.scalars[usize::from(*place)];
            places.iter().map(scalar).collect()
        };
        assert_eq!(found(&decoded), expected, "{payload}");
        // A value says the same as the text that it was made of.
        if let Ok(value) = payload::read_json(payload.as_bytes()) {
            plan.read(&value, &mut decoded);
            assert_eq!(found(&decoded), expected, "{payload} as a value");
        }
    }

    #[test]
    fn a_payload_that_is_no_object_stands_under_self() {
        let scalars = [Scalar::Float(21.5), Scalar::Float(21.5), Scalar::Missing];
        check(&["/self", "", "/x"], "21.5", &scalars);
        check(&["/self"], "\u{feff}7", &[Scalar::Int(7)]);
        check(&["/self"], "[1]", &[Scalar::Other]);
        check(
            &["/self", ""],
            r#"{"self":3}"#,
            &[Scalar::Int(3), Scalar::Other],
        );
        check(&["/self"], r#"{"x":3}"#, &[Scalar::Missing]);
    }

    #[track_caller]
    fn refused(payload: &[u8]) -> String {
        let mut plan = Plan::default();
        plan.add("/a");
        plan.decode(payload, &mut Decoded::default())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn finds_scalars_of_every_kind() {
        let payload =
            r#"{"i":-3,"f":3.0,"t":true,"n":null,"o":{},"l":[1],"big":18446744073709551615}"#;
        check(
            &["/i", "/f", "/t", "/n", "/o", "/l", "/gone", "/big"],
            payload,
            &[
                Scalar::Int(-3),
                Scalar::Float(3.0),
                Scalar::Bool(true),
                Scalar::Null,
                Scalar::Other,
                Scalar::Other,
                Scalar::Missing,
                Scalar::Wide(u64::MAX),
            ],
        );
    }

    #[test]
    fn follows_pointers_into_objects_and_arrays() {
        let payload = r#"{"a":{"b":[10,{"c":7}],"x/y":1,"m~n":2},"z":9}"#;
        check(
            &["/a/b/1/c", "/a/b/0", "/a/x~1y", "/a/m~0n", "/a", "/a/b/01"],
            payload,
            &[
                Scalar::Int(7),
                Scalar::Int(10),
                Scalar::Int(1),
                Scalar::Int(2),
                Scalar::Other,
                Scalar::Missing,
            ],
        );
        check(&[""], "4.5", &[Scalar::Float(4.5)]);
    }

    #[test]
    fn the_same_pointer_has_the_same_place_and_the_last_duplicate_counts() {
        check(
            &["/a", "/a"],
            r#"{"a":1,"a":2}"#,
            &[Scalar::Int(2), Scalar::Int(2)],
        );
        // The last one as a whole: nothing of an earlier one shines through.
        check(
            &["/a/x", "/a/y", "/a"],
            r#"{"a":{"x":1},"a":{"y":2}}"#,
            &[Scalar::Missing, Scalar::Int(2), Scalar::Other],
        );
        check(
            &["/a/x/0", "/a"],
            r#"{"a":{"x":[1]},"a":5}"#,
            &[Scalar::Missing, Scalar::Int(5)],
        );
        check(&["/a/x"], r#"{"a":{"x":{},"x":7}}"#, &[Scalar::Int(7)]);
    }

    #[test]
    fn text_is_unescaped_into_the_arena() {
        let mut plan = Plan::default();
        plan.add("/s");
        let mut decoded = Decoded::default();
        plan.decode(br#"{"s":"a\n\u00e4"}"#, &mut decoded).unwrap();
        let [Scalar::Text(span)] = decoded.scalars[..] else {
            panic!("{decoded:?}")
        };
        assert_eq!(decoded.bytes(span), "a\nä".as_bytes());
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        assert!(refused(b"{\"a\":1").contains("line 1 column 6"));
        assert!(refused(b"{\"a\":1} x").contains("trailing characters"));
        assert!(refused(b"").contains("EOF"));
        assert!(refused(b"{\"a\":1e999}").contains("number out of range"));
        assert!(refused(b"{\"a\":\"\xff\"}").contains("not UTF-8 (byte 6)"));
    }

    #[test]
    fn ten_thousand_levels_cost_no_stack() {
        let deep = format!(
            "{{\"b\":{}1{},\"a\":5}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        check(&["/a"], &deep, &[Scalar::Int(5)]);
        let wanted = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        check(&["/a"], &wanted, &[Scalar::Other]);
    }
}
